"""Retention: ended jobs and their files are purged after a time.

A job's files are deleted first, and its record in Redis only once they are gone. A full disk may
keep Redis from writing, so files are deleted even while it refuses writes.
"""

import time
from collections.abc import Sequence

import structlog
from redis import Redis
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError
from ulid import ULID

from shared.errors import StoreUnavailable
from shared.queue import keys, scripts
from shared.settings import Settings
from shared.storage.identity import StoreIdentity
from shared.storage.job_records import JobRecords, unknown_jobs
from shared.storage.store import ScanStore
from shared.supervised_thread import SupervisedThread

log = structlog.get_logger()

#: Jobs that one command looks up, purges or indexes.
BATCH = 200
#: A pause between two batches, so that other threads of the worker run (seconds).
YIELD_S = 0.005
#: Files that no job refers to are kept at least this long (seconds): an upload may be in progress,
#: and another service may be recovering its jobs.
ORPHANS_KEPT_S = 86_400.0

# Errors of a Redis that refuses writes, in addition to those that redis-py has classes for.
_REFUSALS = ("MISCONF", "NOREPLICAS")


class Retention:
    """Purges jobs that ended ``RETENTION_S`` ago, and the oldest beyond ``MAX_KEPT_JOBS``.

    One worker at a time does a round, unless Redis refuses writes; two rounds at the same time do
    no harm. Times are those of Redis's clock.
    """

    def __init__(self, redis: Redis, store: ScanStore, settings: Settings) -> None:
        self._redis = redis
        self._store = store
        self._records = JobRecords(store)
        self._identity = StoreIdentity(redis, store)
        self._retention_s = settings.retention_s
        self._max_kept = settings.max_kept_jobs
        self._interval_s = min(60.0, max(1.0, settings.retention_s / 10))
        self._sweep_interval_s = min(3600.0, max(self._interval_s, settings.retention_s / 10))

    def start(self) -> SupervisedThread:
        """Make a round from time to time, as long as the process lives."""
        thread = SupervisedThread("retention", self.make_round, self._interval_s)
        thread.start()
        return thread

    def make_round(self) -> None:
        """Purge all jobs that are due, unless another worker just did."""
        try:
            if self._takes_turn("purge", 0.9 * self._interval_s):
                self._identity.check()
                self._store.sweep_decompressed()
                purged = self.purge_expired()
                if purged:
                    log.info("jobs_purged", count=purged)
            if self._takes_turn("sweep", self._sweep_interval_s):
                swept = self.sweep_orphans()
                log.info("orphans_swept", count=swept)
        except StoreUnavailable as error:
            log.warning("retention_postponed", reason=error.detail)

    def purge_expired(self) -> int:
        """Purge every ended job whose retention time is over; return how many.

        A job whose files cannot be deleted is kept for the next round, and the others are purged.
        While Redis refuses writes all jobs are kept, without their files.
        """
        self._index_ended()
        purged, kept = 0, set[str]()
        while ids := self._expired(kept):
            gone = [job_id for job_id in ids if self._remove_files(job_id)]
            kept.update(set(ids).difference(gone))
            count = self._forget(gone)
            if count == 0:
                kept.update(gone)
            purged += count
            time.sleep(YIELD_S)
        if kept:
            log.warning("jobs_kept_over_time", count=len(kept))
        return purged

    def sweep_orphans(self) -> int:
        """Delete files that belong to no job; return of how many jobs.

        An API process that died during an upload leaves such files. Files whose record names
        another service are kept, whether or not it is running.
        """
        self._identity.check()
        kept_s = max(self._retention_s, ORPHANS_KEPT_S)
        value = self._redis.get(keys.SERVICE)
        service = value.decode() if isinstance(value, bytes) else None
        swept = 0
        begun_before = self._now() - kept_s
        for job_id in unknown_jobs(self._redis, self._store):
            begun_at = ULID.from_str(job_id).timestamp
            if begun_at < begun_before and self._may_be_swept(job_id, service):
                swept += self._remove_files(job_id)
        return swept

    def _may_be_swept(self, job_id: str, service: str | None) -> bool:
        try:
            return self._records.service_of(job_id) in (None, service)
        except StoreUnavailable as error:
            log.warning("record_not_read", job=job_id, reason=error.detail)
            return False

    def _takes_turn(self, task: str, every_s: float) -> bool:
        """Return whether a task is due; if so, mark it as begun."""
        try:
            return bool(scripts.TAKE_TURN.run(self._redis, keys.RETENTION_TURN + task, every_s))
        except ResponseError as error:
            _check_refusal(error)
            return True

    def _index_ended(self) -> None:
        try:
            while scripts.INDEX_ENDED.run(self._redis, BATCH):
                time.sleep(YIELD_S)
        except ResponseError as error:
            _check_refusal(error)

    def _expired(self, kept: set[str]) -> list[str]:
        # Kept jobs are returned first each time; twice their number keeps the total work linear.
        limit = BATCH + 2 * len(kept)
        ids = scripts.EXPIRED.run(self._redis, self._retention_s, self._max_kept, limit)
        return [job_id for job_id in (entry.decode() for entry in ids) if job_id not in kept]

    def _remove_files(self, job_id: str) -> bool:
        try:
            self._store.delete_job(job_id)
        except StoreUnavailable as error:
            self._identity.check()  # raises if the store is another one or has gone away
            log.warning("files_not_removed", job=job_id, reason=error.detail)
            return False
        return True

    def _forget(self, job_ids: Sequence[str]) -> int:
        if not job_ids:
            return 0
        self._identity.check()  # a store that has gone away still has the files
        forgotten = 0
        try:
            for at in range(0, len(job_ids), BATCH):
                forgotten += int(scripts.PURGE_ALL.run(self._redis, *job_ids[at : at + BATCH]))
        except ResponseError as error:
            _check_refusal(error)
        return forgotten

    def _now(self) -> float:
        seconds, microseconds = self._redis.time()
        return float(seconds) + float(microseconds) / 1_000_000


def _check_refusal(error: ResponseError) -> None:
    """Return if Redis refuses writes just now; raise any other ``error`` again."""
    refuses = isinstance(error, (OutOfMemoryError, ReadOnlyError))
    if not refuses and not str(error).startswith(_REFUSALS):
        raise error
