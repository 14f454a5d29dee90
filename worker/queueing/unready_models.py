"""Models that a worker cannot load just now: their jobs are left in the queue for a while."""

import threading

from worker.pipeline.trouble import Pause


class UnreadyModels:
    """One growing pause a model; any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pauses: dict[str, Pause] = {}

    @property
    def refs(self) -> frozenset[str]:
        """``name@version`` of the models whose jobs are not to be drawn yet."""
        with self._lock:
            return frozenset(ref for ref, pause in self._pauses.items() if pause.left_s > 0)

    def hold(self, ref: str) -> bool:
        """Leave a model's jobs alone, longer than last time; return whether that is new."""
        with self._lock:
            return self._pauses.setdefault(ref, Pause()).begin("not ready")

    def forget(self, ref: str) -> None:
        """Begin anew: the model has computed a scan."""
        with self._lock:
            self._pauses.pop(ref, None)
