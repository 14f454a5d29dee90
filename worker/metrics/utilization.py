"""How long something was busy, and with how much."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Busy:
    """Seconds that passed, those with at least one at work, and those of all at work summed up."""

    passed_s: float = 0.0
    any_s: float = 0.0
    each_s: float = 0.0


class UtilizationClock:
    """Shared by all who are at work."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._at_work = 0
        self._at = now()
        self._busy = Busy()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Count whoever is within as at work."""
        self._change(1)
        try:
            yield
        finally:
            self._change(-1)

    def take(self) -> Busy:
        """Return what was counted since the last call; what is still going on counts so far."""
        with self._lock:
            self._tick()
            taken, self._busy = self._busy, Busy()
        return taken

    def _change(self, by: int) -> None:
        with self._lock:
            self._tick()
            self._at_work += by

    def _tick(self) -> None:
        now, before = self._now(), self._busy
        passed_s, self._at = now - self._at, now
        self._busy = Busy(
            before.passed_s + passed_s,
            before.any_s + passed_s * min(1, self._at_work),
            before.each_s + passed_s * self._at_work,
        )
