"""The thread that sends the progress of active jobs to the queue."""

from shared.supervised_thread import SupervisedThread
from worker.pipeline.progress import ProgressBoard
from worker.queueing.leases import Leases

#: Between two reports (seconds). All steps of that time are sent in one round trip.
REPORT_EVERY_S = 0.1


class ProgressReporter(SupervisedThread):
    """Takes steps from the board and reports them; sleeps while there are none.

    A report that Redis did not receive is not repeated: the next one has newer steps.
    """

    def __init__(self, leases: Leases, board: ProgressBoard) -> None:
        super().__init__("reporter", self._report, REPORT_EVERY_S)
        self._leases = leases
        self._board = board

    def stop(self) -> None:
        """Stop reporting, and wait for the last report to end."""
        self._stopping.set()
        self._board.close()
        super().stop()

    def _report(self) -> None:
        steps = self._board.take()
        if steps:
            self._leases.update_progress(steps)
