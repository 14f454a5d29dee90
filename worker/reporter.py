"""The thread that tells the queue how far the jobs in hand have come."""

import threading

import structlog
from redis.exceptions import RedisError

from worker.lease import Leases
from worker.progress import ProgressBoard

log = structlog.get_logger()

#: Between two reports (seconds). What is noted meanwhile goes into one, which is one round trip.
REPORT_EVERY_S = 0.1


class Reporter(threading.Thread):
    """Takes steps from the board and reports them; sleeps while there are none."""

    def __init__(self, leases: Leases, board: ProgressBoard) -> None:
        super().__init__(name="reporter", daemon=True)
        self._leases = leases
        self._board = board
        self._stopping = threading.Event()

    def run(self) -> None:
        """Report until told to stop; what Redis did not hear, the next report makes up for."""
        while not self._stopping.is_set():
            steps = self._board.take()
            try:
                if steps:
                    self._leases.report(steps)
            except RedisError as error:
                log.warning("report failed", error=type(error).__name__)
            self._stopping.wait(REPORT_EVERY_S)

    def stop(self) -> None:
        """Stop reporting, and wait for the last report to end."""
        self._stopping.set()
        self._board.close()
        self.join()
