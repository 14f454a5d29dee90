"""A thread that repeats a task as long as its process runs, even if one round fails."""

import threading
from collections.abc import Callable

import structlog
from redis.exceptions import RedisError

from shared.telemetry import log_unexpected_error

log = structlog.get_logger()

#: By default `SupervisedThread.stop` waits this long for a running round (seconds).
STOP_S = 10.0


class SupervisedThread(threading.Thread):
    """Calls ``round_`` every ``interval_s`` seconds until it is stopped.

    An error ends the round, not the thread, and is logged.
    """

    def __init__(
        self, name: str, round_: Callable[[], None], interval_s: float, stop_s: float = STOP_S
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._round = round_
        self._interval_s = interval_s
        self._stop_s = stop_s
        self._stopping = threading.Event()

    def run(self) -> None:
        """Repeat the round until stopped."""
        while not self._stopping.is_set():
            try:
                self._round()
            except RedisError as error:
                log.warning("round_failed", thread=self.name, error=type(error).__name__)
            except Exception as error:  # the next round may go well
                log_unexpected_error("round_failed", error, thread=self.name)
            self._stopping.wait(self._interval_s)

    def stop(self) -> None:
        """Ask the thread to end, and wait up to ``stop_s`` seconds for a running round."""
        self._stopping.set()
        if self.is_alive() and self is not threading.current_thread():
            self.join(self._stop_s)
