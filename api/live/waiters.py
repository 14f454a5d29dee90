"""Clients that block on a job, all woken by the one reader of the queue's events per process.

A blocked client costs one future: no connection to Redis, no thread and no loop of its own.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable

from shared.errors import JobNotFound, ServiceUnavailable, VoxelQError
from shared.jobs import Job
from shared.queue.events import EventBatch
from shared.queue.job_queue import JobQueue
from shared.telemetry import log_unexpected_error


class JobWaiters:
    """Wakes the clients that wait for a job once it is terminal; an `EventConsumer`."""

    def __init__(self, queue: JobQueue, has_lost: Callable[[str], Awaitable[bool]]) -> None:
        """Start; ``has_lost`` returns whether a job was lost and is about to be recovered."""
        self._queue = queue
        self._has_lost = has_lost
        self._waiting: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)
        self._released = False

    @property
    def count(self) -> int:
        """How many clients wait now."""
        return sum(len(futures) for futures in self._waiting.values())

    async def wait(self, job_id: str, timeout_s: float) -> Job:
        """Return the job once it is terminal, or in its present state after ``timeout_s``.

        Raises:
            JobNotFound: There is no such job, or it was purged meanwhile.
            ServiceUnavailable: Redis does not answer.

        """
        done = asyncio.get_running_loop().create_future()
        self._waiting[job_id].add(done)  # before the job is read, so that no event is missed
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
        """Wake all waiters at shutdown; later ones do not wait."""
        self._released = True
        for job_id in list(self._waiting):
            self._wake(job_id)

    def receive(self, new_events: EventBatch) -> None:
        """Wake the waiters of jobs that have become terminal."""
        for event in new_events.events:
            if event.status.terminal:
                self._wake(event.job_id)

    async def poll(self) -> None:
        """Wake the waiters of jobs that have become terminal without an event."""
        for job_id in list(self._waiting):
            try:
                job = await self._queue.get(job_id)
            except ServiceUnavailable:
                raise
            except JobNotFound:
                if not await self._has_lost(job_id):
                    self._wake(job_id)
            except Exception as error:  # its own client will get the same error
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
