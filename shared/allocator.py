"""Memory that a process keeps: glibc gives large volumes back to the kernel after each use.

Having them faulted in anew for every convolution costs large volumes about half their speed, and
the front desk a tenth of what an upload costs it. So a process keeps what it once had, for a while:
what lies free between what is in use is given back now and then, or it would grow for hours.
"""

import ctypes
import os
import threading
import time
from collections.abc import Callable
from typing import Any

#: Free memory is kept for so long at most (seconds).
KEEP_S = 20.0

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
        libc: Any = ctypes.CDLL(None)
        mallopt, malloc_trim = libc.mallopt, libc.malloc_trim
    except (AttributeError, OSError, TypeError):
        return False
    answers = [mallopt(option, value) for option, value, name in _OPTIONS if name not in os.environ]
    trimming = threading.Thread(target=_trim, args=(malloc_trim,), name="allocator", daemon=True)
    trimming.start()
    return all(answers)


def _trim(malloc_trim: Callable[[int], int]) -> None:
    """Give back every page that nothing lies on, again and again."""
    while True:
        time.sleep(KEEP_S)
        malloc_trim(0)
