"""Pauses after a fault that may pass: each longer than the last, up to a bound."""

import threading
import time
from collections.abc import Callable

#: The first and the longest pause before a worker in trouble checks again (seconds).
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0


class Pause:
    """How long to wait while a trouble lasts; thread-safe."""

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
        """Seconds until the next check."""
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
        """Serve again; the next pause is longer still, unless a batch succeeds before it."""
        with self._lock:
            self._reason = None

    def reset(self) -> None:
        """Begin with the shortest pause next time, because a batch has succeeded."""
        with self._lock:
            if self._reason is None:
                self._next_s = FIRST_PAUSE_S


class ModelPauses:
    """One pause for each model that a worker cannot load just now; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pauses: dict[str, Pause] = {}

    @property
    def refs(self) -> frozenset[str]:
        """``name@version`` of the models whose jobs are not to be drawn yet."""
        with self._lock:
            return frozenset(ref for ref, pause in self._pauses.items() if pause.left_s > 0)

    def begin(self, ref: str) -> bool:
        """Draw no jobs of a model, longer than last time; return whether that is new."""
        with self._lock:
            return self._pauses.setdefault(ref, Pause()).begin("not ready")

    def reset(self, ref: str) -> None:
        """End a model's pause and begin with the shortest next time: it has computed a scan."""
        with self._lock:
            self._pauses.pop(ref, None)
