"""The care of the store in an API process, besides reading and writing scans.

It checks that the store belongs to the queue, writes a record beside each scan, and recovers jobs
that the queue lost while the process was running or just before it started.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from redis.exceptions import RedisError

from api.thread_pools import ThreadPool
from shared.errors import StoreFull, StoreUnavailable
from shared.jobs import Submission
from shared.queue.connection import connect_blocking, redis_unavailable
from shared.queue.data_set import DataSet
from shared.settings import Settings
from shared.storage.identity import StoreIdentity
from shared.storage.job_records import JobRecord, JobRecords
from shared.storage.recovery import SETTLING_S, Recovery
from shared.storage.store import ScanStore
from shared.supervised_thread import SupervisedThread

log = structlog.get_logger()

#: Between two checks of the store and of the queue's data set (seconds).
CHECK_EVERY_S = 1.0
#: How long the process waits at its end for a running check (seconds).
STOP_S = 2.0
#: The longest pause between two recoveries of jobs that could not be recovered (seconds).
LONGEST_PAUSE_S = 600.0
#: If no check has returned for this long, the store hangs (seconds).
HUNG_AFTER_S = 10.0


class StoreUpkeep:
    """The store's identity, records and recovery; methods block unless they are async."""

    def __init__(self, settings: Settings, store: ScanStore, threads: ThreadPool) -> None:
        self._threads = threads
        self._redis = connect_blocking(settings.redis_url)
        self._store = store
        self._identity = StoreIdentity(self._redis, store, takes_scans=True)
        self._data_set = DataSet(self._redis)
        self._records = JobRecords(store)
        self._recovery = Recovery(self._redis, store, settings)
        self._checked_at = time.monotonic()
        self._recover_at: float | None = None
        self._recovered_at = float("-inf")
        self._pause_s = SETTLING_S
        self._trouble: str | None = None
        self._foreign_scans = 0

    @property
    def trouble(self) -> str | None:
        """Why the store takes no scans, as a sentence; None while it does."""
        if time.monotonic() - self._checked_at > HUNG_AFTER_S:
            return "The store does not answer; its mount or its server may hang."
        return self._trouble

    @property
    def notes(self) -> list[str]:
        """Notes for the operator while scans are served: about scans of a lost data set."""
        if not self._foreign_scans:
            return []
        scans = "1 scan" if self._foreign_scans == 1 else f"{self._foreign_scans} scans"
        return [
            f"The store holds {scans} of another data set of the queue. If it was lost, run "
            "`voxelq recover --adopt-all`; if another service uses this store, all is well."
        ]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Check the store and the data set until the block is left."""
        # Its end is not awaited for long: a hung mount must not keep the process from exiting.
        thread = SupervisedThread("storage", self._make_round, CHECK_EVERY_S, STOP_S)
        thread.start()
        try:
            yield
        finally:
            await asyncio.to_thread(thread.stop)
            self._redis.close()

    def check(self) -> None:
        """Return if the store belongs to the queue; raises StoreUnavailable."""
        self._identity.check()

    def admit(self, size_bytes: int) -> None:
        """Return if an upload of ``size_bytes`` may start.

        Raises:
            StoreUnavailable: The store cannot be reached, or belongs to another queue.
            StoreFull: It would use the reserve.

        """
        self._identity.check()
        self._store.check_room(size_bytes)

    def write_record(self, submission: Submission) -> None:
        """Write the record of a job into the store, before the job is queued.

        Raises:
            ServiceUnavailable: Redis does not answer.
            StoreUnavailable: The store cannot be written.
            StoreFull: The store has no room.

        """
        try:
            service = self._data_set.id()
        except RedisError as error:
            raise redis_unavailable(error) from error
        stripped = submission.model_copy(update={"idempotency_key": None})
        self._records.write(JobRecord(service=service, submission=stripped))
        # If a mount has disappeared, the files were written into the empty folder below it.
        self._identity.check()

    def remove_record(self, job_id: str) -> None:
        """Remove the record of a cancelled job, so that it is never recovered; logs a failure."""
        try:
            self._records.remove(job_id)
        except StoreUnavailable as error:
            log.warning("record_kept", job=job_id, reason=error.detail)

    def delete_job(self, job_id: str) -> None:
        """Delete all files of a job; raises StoreUnavailable if that fails."""
        self._identity.check()
        self._store.delete_job(job_id)

    async def has_lost(self, job_id: str) -> bool:
        """Return whether the queue lost this job, and it is about to be recovered."""
        if self.trouble is not None:
            return False  # it cannot be recovered soon
        try:
            return await self._threads.run(self._has_lost, job_id)
        except StoreUnavailable:
            return False

    def _has_lost(self, job_id: str) -> bool:
        try:
            lost = self._recovery.is_lost(job_id, self._data_set.ids)
        except (RedisError, StoreUnavailable):
            return False
        if lost and self._recover_at is None:
            # A recovery lists the whole store, so clients must not cause it too often.
            self._recover_at = self._recovered_at + self._pause_s
        return lost

    def _make_round(self) -> None:
        try:
            self._check_once()
        except RedisError as error:  # other parts of the process report it
            log.debug("data_set_check_failed", error=type(error).__name__)

    def _check_once(self) -> None:
        self._check_identity()
        self._checked_at = time.monotonic()
        if self._data_set.may_have_lost_jobs():
            # Until then workers drop the results of leases that are lost.
            self._recover_at = time.monotonic() + SETTLING_S
            self._pause_s = SETTLING_S
        due = self._recover_at is not None and time.monotonic() >= self._recover_at
        if due and self._trouble is None:
            self._recover()

    def _check_identity(self) -> None:
        try:
            self._identity.check()
        except (StoreUnavailable, StoreFull) as error:
            if self._trouble is None:
                log.error("store_unavailable", reason=error.detail)  # noqa: TRY400
            self._trouble = error.detail
        else:
            if self._trouble is not None:
                log.info("store_available")
            self._trouble = None

    def _recover(self) -> None:
        # A recovery lists the whole store, so the pauses grow while nothing is recovered.
        self._pause_s = min(LONGEST_PAUSE_S, 2 * self._pause_s)
        self._recover_at = time.monotonic() + self._pause_s
        found = self._recovery.recover(
            self._data_set.id(),
            self._data_set.ids,
            on_restored=lambda job_id: log.info("job_restored", job=job_id),
        )
        self._foreign_scans = found.others.total()
        restored = found.queued + found.finished
        if restored or found.unreadable:
            log.warning(
                "jobs_recovered",
                queued=found.queued,
                finished=found.finished,
                unreadable=found.unreadable,
            )
        self._recovered_at = time.monotonic()
        if restored:
            self._pause_s = SETTLING_S
        self._recover_at = self._recovered_at + self._pause_s if found.waiting else None
