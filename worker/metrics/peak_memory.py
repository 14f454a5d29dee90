"""The peak memory of a worker since it last became busy.

On a GPU it is the memory that torch allocated there; on a CPU it is the resident memory of the
process, on systems that report it (Linux, see ``proc(5)``: ``VmHWM`` and ``clear_refs``).
"""

import re
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
#: Written to ``clear_refs``, it resets the kernel's peak.
_RESET_PEAK = "5"


def restart_peak(device: str) -> None:
    """Reset the peak."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK, encoding="ascii")
    except OSError:  # not Linux, or forbidden: the peak is that since the worker began
        return


def peak_bytes(device: str) -> int | None:
    """Return the peak in bytes; None where the system does not report it."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated(device)
    try:
        match = re.search(r"^VmHWM:\s*(\d+) kB", _STATUS.read_text("ascii"), re.MULTILINE)
    except OSError:
        return None
    return int(match[1]) * 1024 if match else None
