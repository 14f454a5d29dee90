"""How long a worker was busy, and with how many batches."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class BusyTime:
    """Seconds that passed, those with a busy thread, and the sum of all threads' busy seconds."""

    passed_s: float = 0.0
    any_s: float = 0.0
    each_s: float = 0.0


class UtilizationClock:
    """Measures how many threads are busy; thread-safe."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._active = 0
        self._at = now()
        self._busy = BusyTime()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Count the calling thread as busy."""
        self._change(1)
        try:
            yield
        finally:
            self._change(-1)

    def take(self) -> BusyTime:
        """Return the times since the last call, including those of threads that are still busy."""
        with self._lock:
            self._tick()
            taken, self._busy = self._busy, BusyTime()
        return taken

    def _change(self, by: int) -> None:
        with self._lock:
            self._tick()
            self._active += by

    def _tick(self) -> None:
        now, before = self._now(), self._busy
        passed_s, self._at = now - self._at, now
        self._busy = BusyTime(
            before.passed_s + passed_s,
            before.any_s + passed_s * min(1, self._active),
            before.each_s + passed_s * self._active,
        )
