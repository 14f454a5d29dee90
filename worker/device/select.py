"""Select the device, the threads, the precision and the share of GPU memory for a network."""

import os
import platform
from pathlib import Path

import torch

from shared.errors import MissingRequirement
from worker.device.compute_mode import Precision

PRECISIONS: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
PRECISION_NAMES = {dtype: name for name, dtype in PRECISIONS.items()}
_ALLOCATOR = "PYTORCH_ALLOC_CONF"
_CPU_FLAGS = Path("/proc/cpuinfo")


def choose_device(wanted: str) -> torch.device:
    """Return the device for ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; plain ``cuda`` is the first.

    Raises:
        MissingRequirement: The device is unknown, or this machine does not have it.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise MissingRequirement(
            f"There is no device called {wanted}; use auto, cpu or cuda."
        ) from error
    if device.type == "cpu":
        return device
    if device.type != "cuda":
        raise MissingRequirement(f"The network cannot run on {device.type}; use auto, cpu or cuda.")
    index = device.index or 0
    if index >= torch.cuda.device_count():
        raise MissingRequirement(
            f"There is no GPU number {index} that torch can use on this machine."
        )
    return torch.device("cuda", index)


def choose_precision(wanted: str, device: torch.device) -> torch.dtype:
    """Return the number format of ``wanted``; ``auto`` is bf16 if the chip supports it natively.

    Raises:
        MissingRequirement: ``wanted`` is none of auto, fp32, bf16 and fp16.
    """
    usable = precisions(wanted, device)
    return torch.bfloat16 if "bf16" in usable else PRECISIONS[usable[0]]


def precisions(wanted: str, device: torch.device) -> list[Precision]:
    """Return the number formats that may be used, the plainest first.

    For ``auto`` they are those that the chip computes fast: fp16 is no faster than fp32 on CPUs.

    Raises:
        MissingRequirement: ``wanted`` is none of auto, fp32, bf16 and fp16.
    """
    if wanted != "auto":
        named: list[Precision] = [name for name in PRECISIONS if name == wanted]
        if not named:
            raise MissingRequirement(
                f"There is no precision called {wanted}; use auto, fp32, bf16 or fp16."
            )
        return named
    if device.type == "cuda":
        return ["fp32", "bf16", "fp16"] if _gpu_has_bf16(device) else ["fp32", "fp16"]
    return ["fp32", "bf16"] if cpu_has_bf16() else ["fp32"]


def cpu_has_bf16() -> bool:
    """Return whether this CPU supports bf16 (AVX512-BF16, AMX, or Arm's BF16 instructions)."""
    try:
        words = set(_CPU_FLAGS.read_text(encoding="utf-8").split())
    except OSError:
        return False
    return not words.isdisjoint({"avx512_bf16", "amx_bf16", "bf16"})


def device_kind(device: torch.device) -> str:
    """Return a name that devices share if they compute the same number formats equally fast."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()}{' bf16' if cpu_has_bf16() else ''}"


def cores() -> int:
    """Return how many threads torch uses by default."""
    return torch.get_num_threads()


def set_threads(count: int) -> None:
    """Limit the calling thread's work to ``count`` cores; 0 changes nothing."""
    # Only on a change, because torch drops its prepared convolutions at every call.
    if count > 0 and count != torch.get_num_threads():
        torch.set_num_threads(count)


def limit_gpu_memory(device: torch.device, *, growth: bool, fraction: float) -> None:
    """Allocate GPU memory as it is needed, at most ``fraction`` of the card.

    Call it before anything else uses the GPU: the allocator reads its settings once.
    """
    if device.type != "cuda":
        return
    if growth:
        grow_gpu_memory()
    if fraction < 1:
        torch.cuda.set_per_process_memory_fraction(fraction, device)


def grow_gpu_memory() -> None:
    """Have GPU memory allocated in segments that grow, unless the operator set it otherwise.

    Call it before anything else uses a GPU.
    """
    settings = os.environ.get(_ALLOCATOR, "")
    if "expandable_segments" not in settings:
        parts = [part for part in (settings, "expandable_segments:True") if part]
        os.environ[_ALLOCATOR] = ",".join(parts)


def release_idle_memory() -> None:
    """Return the memory that the allocator has cached to the GPU."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _gpu_has_bf16(device: torch.device) -> bool:
    major, _ = torch.cuda.get_device_capability(device)
    return major >= 8
