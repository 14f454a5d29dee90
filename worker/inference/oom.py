"""Out of memory: how it is recognised, and which sizes of forward passes fit.

What fits depends on the model, on the kind of pass and on other users of the device, so it is
learnt: if a pass runs out of memory, half its size is the limit from then on. After many passes
without a failure, twice the size is tried again. The passes themselves are split where they are
made: scans in `worker.pipeline.batch_predict`, windows in `worker.inference.batched_windows`.
"""

import threading
from collections.abc import Hashable

import torch

#: A limit is doubled after so many passes of that size without a failure.
PASSES_TO_FORGET = 100

#: Parts of the messages of backends that have no error class for running out of memory.
_MESSAGES = ("out of memory", "can't allocate memory", "_alloc_failed")


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory has run out, on a GPU or on the host."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    # torch raises a bare RuntimeError on CPUs, and so do cuDNN and cuBLAS
    return isinstance(error, RuntimeError) and any(
        message in str(error).lower() for message in _MESSAGES
    )


class PassSizes:
    """The largest size of one model's forward passes, by kind of pass; methods are thread-safe.

    It belongs to the loaded model, so it starts without limits when the model is loaded again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._most: dict[Hashable, int] = {}
        self._went_well: dict[Hashable, int] = {}
        self._splits = 0

    def take_splits(self) -> int:
        """Return how often a pass was halved since the last call."""
        with self._lock:
            splits, self._splits = self._splits, 0
            return splits

    def most(self, kind: Hashable, wanted: int) -> int:
        """Return how many inputs a pass of this kind may have, from 1 to ``wanted``."""
        with self._lock:
            return max(1, min(wanted, self._most.get(kind, wanted)))

    def ran_out(self, kind: Hashable, size: int) -> None:
        """Record that a pass of ``size`` ran out of memory and is halved."""
        with self._lock:
            self._splits += 1
            self._most[kind] = max(1, min(size // 2, self._most.get(kind, size)))
            self._went_well[kind] = 0

    def went_well(self, kind: Hashable, size: int) -> None:
        """Record that a pass of ``size`` fitted; after many, the limit is raised."""
        with self._lock:
            if size < self._most.get(kind, size + 1):
                return
            self._went_well[kind] += 1
            if self._went_well[kind] >= PASSES_TO_FORGET:
                self._most[kind] *= 2
                self._went_well[kind] = 0
