"""Scans whose submit got no answer from Redis, so that their job may or may not be queued.

Such a scan cannot be deleted at once: its job may have been queued.
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

    Scans that are undecided when the process ends are deleted by the retention, after
    ``RETENTION_S``, as all files without a job are.
    """

    def __init__(self, queue: JobQueue, store: ScanStore, threads: ThreadPool) -> None:
        self._queue = queue
        self._threads = threads
        self._store = store
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Stop deciding when the block is left."""
        try:
            yield
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def add(self, job_id: str) -> None:
        """Delete the scan of ``job_id`` as soon as it is known to have no job."""
        task = asyncio.create_task(self._decide(job_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _decide(self, job_id: str) -> None:
        while not await self._decided(job_id):  # noqa: ASYNC110 - Redis sends no event
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
            log_unexpected_error("upload_undecided", error, job=job_id)
            return False
        return True

    async def _deleted(self, job_id: str) -> bool:
        try:
            await self._threads.run(self._store.delete_job, job_id)
        except (StoreUnavailable, OSError) as error:
            log.warning("upload_kept", job=job_id, error=type(error).__name__)
            return False
        return True
