"""Whether the queue has room for another job, asked before its scan is taken in.

A hint that spares uploads: the queue itself decides, as the job is submitted.
"""

import time

from shared.errors import QueueFull, ServiceUnavailable
from shared.queue.job_queue import JobQueue

#: What was seen so long ago is believed (seconds).
MAX_AGE_S = 0.5


class QueueRoom:
    """Knows how many jobs wait, as of a moment ago."""

    def __init__(self, queue: JobQueue, max_queued: int) -> None:
        self._queue = queue
        self._max_queued = max_queued
        self._looked_at = float("-inf")
        self._full = False
        self._retry_after_s = 1

    async def check(self, idempotency_key: str | None) -> None:
        """Raise QueueFull if another job would be refused; a key that is known makes none."""
        if time.monotonic() - self._looked_at >= MAX_AGE_S:
            await self._look()
        if not self._full or (idempotency_key and await self._queue.knows_key(idempotency_key)):
            return
        raise QueueFull(
            f"{self._max_queued} jobs are waiting, and the queue takes no more. Try again later.",
            retry_after_s=self._retry_after_s,
        )

    async def _look(self) -> None:
        self._looked_at = time.monotonic()  # others that come meanwhile need not look too
        try:
            state = await self._queue.state()
        except ServiceUnavailable:
            self._full = False  # the submit itself will say so
            return
        self._full = sum(state.waiting.values()) >= self._max_queued
        self._retry_after_s = max(1, round(state.seconds_per_scan or 10.0))
