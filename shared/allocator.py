"""Makes glibc keep freed memory for a while, instead of returning it to the kernel at once.

By default glibc returns the memory of a large volume after each use. Page faults for every
convolution then cost a worker about half its speed on large volumes, and the API a tenth of an
upload's time. So freed memory is kept, and returned every `KEEP_S` seconds, because a process
that never returned it would grow for hours.
"""

import ctypes
import os
import threading
import time
from collections.abc import Callable
from typing import Any

#: Freed memory is kept for this long at most (seconds).
KEEP_S = 20.0

_LARGEST = 2**31 - 1
#: Option numbers of glibc's mallopt (malloc.h), their values, and the variables that users may set.
_OPTIONS = (
    (-1, _LARGEST, "MALLOC_TRIM_THRESHOLD_"),
    (-2, 2**28, "MALLOC_TOP_PAD_"),
    (-3, _LARGEST, "MALLOC_MMAP_THRESHOLD_"),
    (-8, 1, "MALLOC_ARENA_MAX"),  # or each thread would keep memory of its own
)


def keep_memory() -> bool:
    """Make this process keep the memory of large volumes; return False if libc is not glibc.

    Options that the environment sets are left alone. Call it before threads are started.
    """
    try:
        libc: Any = ctypes.CDLL(None)
        mallopt, malloc_trim = libc.mallopt, libc.malloc_trim
    except (AttributeError, OSError, TypeError):
        return False
    accepted = [
        mallopt(option, value) for option, value, name in _OPTIONS if name not in os.environ
    ]
    trimming = threading.Thread(target=_trim, args=(malloc_trim,), name="allocator", daemon=True)
    trimming.start()
    return all(accepted)


def _trim(malloc_trim: Callable[[int], int]) -> None:
    """Return all unused pages to the kernel, again and again."""
    while True:
        time.sleep(KEEP_S)
        malloc_trim(0)
