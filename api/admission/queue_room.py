"""Whether the queue has room for another job, checked before its scan is uploaded.

It only saves uploads that would be refused: the queue itself decides when the job is submitted.
"""

import time

from shared.errors import QueueFull, ServiceUnavailable
from shared.queue.job_queue import JobQueue

#: How long a state of the queue is used before it is read again (seconds).
MAX_AGE_S = 0.5


class QueueRoom:
    """Whether the queue is full, as read at most half a second ago."""

    def __init__(self, queue: JobQueue, max_queued: int) -> None:
        self._queue = queue
        self._max_queued = max_queued
        self._read_at = float("-inf")
        self._full = False
        self._retry_after_s = 1

    async def check(self, idempotency_key: str | None) -> None:
        """Raise QueueFull if a new job would be refused; a known key makes no new job."""
        if time.monotonic() - self._read_at >= MAX_AGE_S:
            await self._read_state()
        if not self._full or (idempotency_key and await self._queue.knows_key(idempotency_key)):
            return
        raise QueueFull(
            f"{self._max_queued} jobs are waiting, and the queue takes no more. Try again later.",
            retry_after_s=self._retry_after_s,
        )

    async def _read_state(self) -> None:
        self._read_at = time.monotonic()  # concurrent calls need not read it too
        try:
            state = await self._queue.state()
        except ServiceUnavailable:
            self._full = False  # the submit itself will report it
            return
        self._full = sum(state.waiting.values()) >= self._max_queued
        self._retry_after_s = max(1, round(state.seconds_per_scan or 10.0))
