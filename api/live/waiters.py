"""Clients that block on a job, all woken by the one reader of the queue's news per process.

A waiting client costs one future: no connection, no thread and no loop of its own.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable

from shared.errors import JobNotFound, ServiceUnavailable, VoxelQError
from shared.jobs import Job
from shared.queue.events import EventBatch
from shared.queue.job_queue import JobQueue
from shared.telemetry import log_unexpected_error


class JobWaiter:
    """Wakes whoever waits for a job once the job is terminal; an `event_reader.Audience`."""

    def __init__(self, queue: JobQueue, has_lost: Callable[[str], Awaitable[bool]]) -> None:
        """Begin; ``has_lost`` tells of a job that the queue is about to get back."""
        self._queue = queue
        self._has_lost = has_lost
        self._waiting: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)
        self._released = False

    @property
    def blocked(self) -> int:
        """How many clients wait just now."""
        return sum(len(futures) for futures in self._waiting.values())

    async def wait(self, job_id: str, timeout_s: float) -> Job:
        """Return the job once it is terminal, or as it stands after ``timeout_s``.

        Raises:
            JobNotFound: There is no such job, or it was purged meanwhile.
            ServiceUnavailable: Redis does not answer.

        """
        done = asyncio.get_running_loop().create_future()
        self._waiting[job_id].add(done)  # before the look, so that no end falls between the two
        try:
            job = await self._queue.get(job_id)
            if job.status.terminal or self._released:
                return job
            async with asyncio.timeout(timeout_s):
                await done
        except TimeoutError:
            pass
        finally:
            self._waiting[job_id].discard(done)
            if not self._waiting[job_id]:
                del self._waiting[job_id]
        return await self._queue.get(job_id)

    def release(self) -> None:
        """Let everybody go with their jobs as they stand, now and from now on."""
        self._released = True
        for job_id in list(self._waiting):
            self._wake(job_id)

    def heard(self, new_events: EventBatch) -> None:
        """Wake those whose jobs came to an end."""
        for event in new_events.events:
            if event.status.terminal:
                self._wake(event.job_id)

    async def look_at_all(self) -> None:
        """Wake those whose jobs came to an end that no event told."""
        for job_id in list(self._waiting):
            try:
                job = await self._queue.get(job_id)
            except ServiceUnavailable:
                raise
            except JobNotFound:
                if not await self._has_lost(job_id):
                    self._wake(job_id)
            except Exception as error:  # its own client will hear the same, and no other's
                if not isinstance(error, VoxelQError):
                    log_unexpected_error("job_unreadable", error, job=job_id)
                self._wake(job_id)
            else:
                if job.status.terminal:
                    self._wake(job_id)

    def _wake(self, job_id: str) -> None:
        for done in self._waiting.get(job_id, ()):
            if not done.done():
                done.set_result(None)
