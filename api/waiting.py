"""Clients that block on a job, all woken by one reader of the queue's events per process.

A waiting client costs one future: no connection, no thread and no loop of its own.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import structlog

from shared.errors import JobNotFound, ServiceUnavailable
from shared.job_queue import JobEvent, JobQueue
from shared.jobs import Job

log = structlog.get_logger()

#: How long one read of the event stream blocks.
READ_BLOCK_S = 5.0

#: Every so often all waited jobs are looked at, for those whose end no event told: a stock
#: ``rq worker`` writes none, and the stream is cut to a length.
SWEEP_S = 5.0

RECONNECT_S = 0.5


class JobWaiter:
    """Wakes whoever waits for a job once the job is terminal."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._waiting: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)
        self._released = False
        #: Whether the reader heard from Redis last time it tried.
        self.connected: bool | None = None

    @property
    def blocked(self) -> int:
        """How many clients wait just now."""
        return sum(len(futures) for futures in self._waiting.values())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the reader and the sweep until the block is left."""
        tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._sweep())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

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

    async def _read(self) -> None:
        while True:
            try:
                after = await self._queue.last_event_id()
                self.connected = True
                await self._look_at_all()  # what ended while nobody read
                while True:
                    events = await self._queue.events(after, READ_BLOCK_S)
                    after = events[-1].id if events else after
                    self._wake_from_events(events)
            except ServiceUnavailable:
                if self.connected is not False:
                    log.warning("event_reader_lost", retry_s=RECONNECT_S)
                self.connected = False
                await asyncio.sleep(RECONNECT_S)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self._look_at_all()
            except ServiceUnavailable:
                continue

    async def _look_at_all(self) -> None:
        for job_id in list(self._waiting):
            try:
                job = await self._queue.get(job_id)
            except JobNotFound:
                self._wake(job_id)
            else:
                if job.status.terminal:
                    self._wake(job_id)

    def _wake_from_events(self, events: Iterable[JobEvent]) -> None:
        for event in events:
            if event.status.terminal:
                self._wake(event.job_id)

    def _wake(self, job_id: str) -> None:
        for done in self._waiting.get(job_id, ()):
            if not done.done():
                done.set_result(None)
