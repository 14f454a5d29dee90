"""Faults of a worker's environment: no scan is at fault, and no scan is charged for them.

A worker in trouble gives its batch back, draws nothing, and looks again after a pause that grows
up to a bound. The first batch that succeeds makes all of it forgotten.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

#: The first and the longest pause before a worker in trouble looks again (seconds).
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0


@dataclass(frozen=True)
class Trouble:
    """Why a worker cannot serve, in words for its operator.

    ``restart`` says that only a fresh process may be rid of it. ``model`` (``name@version``)
    limits it to the jobs of one model.
    """

    reason: str
    restart: bool = False
    model: str | None = None


class Pause:
    """How long to wait while a trouble lasts; any thread may call it."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._reason: str | None = None
        self._next_s = FIRST_PAUSE_S
        self._until = 0.0

    @property
    def reason(self) -> str | None:
        """Why the worker waits; None while it serves."""
        with self._lock:
            return self._reason

    @property
    def left_s(self) -> float:
        """Seconds until it is worth to look again."""
        with self._lock:
            return max(0.0, self._until - self._now())

    def begin(self, reason: str) -> bool:
        """Wait, longer than last time; return whether the reason is new."""
        with self._lock:
            new = reason != self._reason
            if self._reason is None or self._now() >= self._until:
                self._until = self._now() + self._next_s
                self._next_s = min(LONGEST_PAUSE_S, 2 * self._next_s)
            self._reason = reason
            return new

    def end(self) -> None:
        """Serve again; the next trouble waits longer still, unless a batch succeeds before it."""
        with self._lock:
            self._reason = None

    def forget(self) -> None:
        """Begin with the shortest pause next time, for a batch has succeeded."""
        with self._lock:
            if self._reason is None:
                self._next_s = FIRST_PAUSE_S
