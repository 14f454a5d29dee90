"""Whether a worker was asked to stop, and waits that end when it is."""

import time

#: A wait checks this often whether the worker was asked to stop (seconds).
STOP_CHECK_S = 0.1


class StopFlag:
    """Set by a signal handler or a lane, and read by every lane.

    It is a flag and not an exception, because an exception could be raised after a draw and before
    its leases are held.
    """

    def __init__(self) -> None:
        self._requested = False

    @property
    def requested(self) -> bool:
        """Whether the worker was asked to stop."""
        return self._requested

    def request(self) -> None:
        """Have every lane end with the batch that it computes."""
        self._requested = True

    def wait_until(self, moment: float) -> None:
        """Wait until ``moment`` (monotonic seconds), or until the worker is asked to stop."""
        while not self._requested and (left_s := moment - time.monotonic()) > 0:
            time.sleep(min(STOP_CHECK_S, left_s))
