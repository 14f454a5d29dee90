"""Memory that a process keeps: glibc gives large volumes back to the kernel after each use.

Having them faulted in anew for every convolution costs large volumes about half their speed, and
the front desk a tenth of what an upload costs it. A process keeps what it once had; its peak is
the same, and it has little else to give memory to.
"""

import ctypes
import os
from typing import Any

_LARGEST = 2**31 - 1
#: glibc's own numbers (malloc.h), what to set them to, and the variable by which a user sets them.
_OPTIONS = (
    (-1, _LARGEST, "MALLOC_TRIM_THRESHOLD_"),
    (-2, 2**28, "MALLOC_TOP_PAD_"),
    (-3, _LARGEST, "MALLOC_MMAP_THRESHOLD_"),
    (-8, 1, "MALLOC_ARENA_MAX"),  # or each thread keeps as much for itself
)


def keep_memory() -> bool:
    """Have this process keep the memory of large volumes; return False where libc is not glibc.

    What the environment sets stays as it is. Call it before threads are started.
    """
    try:
        mallopt: Any = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    answers = [mallopt(option, value) for option, value, name in _OPTIONS if name not in os.environ]
    return all(answers)
