"""The most memory that a worker held since it last began to be busy.

On a GPU it is what torch had allocated there; on a CPU it is what the process had resident, where
the system tells it (Linux, see ``proc(5)``: ``VmHWM`` and ``clear_refs``).
"""

import re
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
#: What has the kernel begin anew to look for the highest.
_RESET_PEAK = "5"


def restart_peak(device: str) -> None:
    """Forget the peak so far."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK, encoding="ascii")
    except OSError:  # not Linux, or forbidden: then it is the peak since the worker began
        return


def peak_bytes(device: str) -> int | None:
    """Return the peak in bytes; None where the system does not tell it."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated(device)
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB", _STATUS.read_text("ascii"), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None
