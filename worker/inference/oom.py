"""Out of memory: how it is recognised, and what is remembered of it.

What fits depends on the model, on what a pass is made of and on who else uses the device, so it
is learnt: a pass that runs out of memory is halved, and that size holds from then on. Every now
and then, when all went well for long, the double is tried again.
"""

import threading
from collections.abc import Hashable

import torch

#: A size that always worked is doubled after so many passes.
PASSES_TO_FORGET = 100

#: How backends that have no error of their own for it say that memory has run out.
_WORDS = ("out of memory", "can't allocate memory", "_alloc_failed")


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory has run out, on a GPU or on the host."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    # torch raises a bare RuntimeError on CPUs, and so do cuDNN and cuBLAS
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _WORDS)


class PassSizes:
    """The most that one model's forward passes may hold, by kind of pass; for any thread.

    It is the model's own, so it begins anew when the model is loaded anew.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._most: dict[Hashable, int] = {}
        self._went_well: dict[Hashable, int] = {}
        self._splits = 0

    def take_splits(self) -> int:
        """Return how often a pass was halved since this was last asked."""
        with self._lock:
            splits, self._splits = self._splits, 0
            return splits

    def most(self, kind: Hashable, wanted: int) -> int:
        """Return how many a pass of this kind may hold, at most ``wanted`` and at least 1."""
        with self._lock:
            return max(1, min(wanted, self._most.get(kind, wanted)))

    def ran_out(self, kind: Hashable, size: int) -> None:
        """Remember that a pass of ``size`` ran out of memory and is halved."""
        with self._lock:
            self._splits += 1
            self._most[kind] = max(1, min(size // 2, self._most.get(kind, size)))
            self._went_well[kind] = 0

    def went_well(self, kind: Hashable, size: int) -> None:
        """Remember that a pass of ``size`` did not; a limit is forgotten slowly."""
        with self._lock:
            if size < self._most.get(kind, size + 1):
                return
            self._went_well[kind] += 1
            if self._went_well[kind] >= PASSES_TO_FORGET:
                self._most[kind] *= 2
                self._went_well[kind] = 0
