"""Scans whose submit got no answer from Redis: queued or not, nobody knows yet.

Deleting such a scan at once could take it from a job that was queued after all.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from api.thread_pools import ThreadPool
from shared.errors import JobNotFound, ServiceUnavailable, StoreUnavailable, VoxelQError
from shared.queue.job_queue import JobQueue
from shared.storage.store import ScanStore
from shared.telemetry import log_unexpected_error

log = structlog.get_logger()

RETRY_S = 1.0


class UndecidedUploads:
    """Deletes undecided scans once Redis answers that they have no job.

    What is undecided when the process ends goes with the files that no job names, after
    ``RETENTION_S``.
    """

    def __init__(self, queue: JobQueue, store: ScanStore, threads: ThreadPool) -> None:
        self._queue = queue
        self._threads = threads
        self._store = store
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Drop what is still undecided when the block is left."""
        try:
            yield
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def add(self, job_id: str) -> None:
        """Decide on the scan of ``job_id`` as soon as that can be done."""
        task = asyncio.create_task(self._decide(job_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _decide(self, job_id: str) -> None:
        while not await self._decided(job_id):  # noqa: ASYNC110 - Redis sets no event
            await asyncio.sleep(RETRY_S)

    async def _decided(self, job_id: str) -> bool:
        try:
            await self._queue.get(job_id)
        except ServiceUnavailable:
            return False
        except JobNotFound:
            return await self._deleted(job_id)
        except VoxelQError:
            pass  # there is a job, readable or not
        except Exception as error:
            log_unexpected_error("orphan_undecided", error, job=job_id)
            return False
        return True

    async def _deleted(self, job_id: str) -> bool:
        try:
            await self._threads.run(self._store.delete_job, job_id)
        except (StoreUnavailable, OSError) as error:
            log.warning("orphan_kept", job=job_id, error=type(error).__name__)
            return False
        return True
