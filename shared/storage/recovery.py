"""Recovers jobs that the queue lost and whose records are still in the store.

A job whose mask is in the store becomes a finished job again. Any other is queued again with its
own id and priority, ahead of jobs that were submitted later.
"""

from collections import Counter
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog
from redis import Redis

from shared.errors import StoreFull, StoreUnavailable
from shared.jobs import Submission
from shared.queue import keys, scripts
from shared.queue.rq_jobs import encode_return_value, rq_fields, rq_stamp
from shared.queue.scripts import Argument
from shared.settings import Settings
from shared.storage.job_records import JobRecord, JobRecords, StoredReport, unknown_jobs
from shared.storage.store import ScanStore

log = structlog.get_logger()

#: Younger jobs are left for a later call (seconds): their submit may still be running, or a worker
#: may be about to delete what it computed for a lease that it lost.
SETTLING_S = 5.0


@dataclass
class Recovered:
    """How many lost jobs were recovered, and how many were not."""

    queued: int = 0  #: Jobs that are queued again.
    finished: int = 0  #: Jobs whose masks were in the store.
    waiting: int = 0  #: Jobs to try again later: too young, or the store failed.
    unreadable: int = 0  #: Jobs whose records cannot be read.
    #: Jobs of other data sets, by the data set's id.
    others: Counter[str] = field(default_factory=Counter)


class Recovery:
    """Recovers the jobs of one queue. Every method may raise RedisError and StoreUnavailable."""

    def __init__(self, redis: Redis, store: ScanStore, settings: Settings) -> None:
        self._redis = redis
        self._store = store
        self._settings = settings
        self._records = JobRecords(store)

    def is_lost(self, job_id: str, services: Container[str]) -> bool:
        """Return whether the queue lost a job that belongs to a data set of ``services``."""
        record = self._records.read(job_id)
        if record is None or record.service not in services:
            return False
        return not self._redis.exists(keys.RQ_JOB + job_id)

    def count_lost(self) -> Counter[str]:
        """Return how many jobs are in the store but not in the queue, by their data sets."""
        counted = Counter(
            self._records.service_of(job_id) for job_id in unknown_jobs(self._redis, self._store)
        )
        return Counter({service: count for service, count in counted.items() if service})

    def recover(
        self,
        service: str,
        services: Container[str],
        on_restored: Callable[[str], None] = lambda _: None,
    ) -> Recovered:
        """Recover every lost job of the data sets ``services``. Repeating a call is safe.

        Args:
            service: The id of the data set in Redis now, which the recovered jobs will belong to.
            services: The ids of the data sets whose jobs are recovered, including ``service``.
            on_restored: Called with the id of each recovered job.

        """
        recovered = Recovered()
        settled_before = datetime.now(UTC) - timedelta(seconds=SETTLING_S)
        # The youngest first, because each one is put at the head of its queue.
        for job_id in sorted(unknown_jobs(self._redis, self._store), reverse=True):
            try:
                owner = self._records.service_of(job_id)
                if owner is None:
                    continue
                if owner not in services:
                    recovered.others[owner] += 1
                    continue
                record = self._records.read(job_id)
                if record is None:
                    recovered.unreadable += 1
                elif record.submission.created_at > settled_before:
                    recovered.waiting += 1
                elif self._recover_one(service, record, recovered):
                    on_restored(job_id)
            except (StoreUnavailable, StoreFull) as error:
                recovered.waiting += 1
                log.warning("job_not_recovered", job=job_id, reason=error.detail)
        return recovered

    def _recover_one(self, service: str, record: JobRecord, recovered: Recovered) -> bool:
        submission = record.submission
        if record.service != service:
            self._records.replace(JobRecord(service=service, submission=submission))
        report = self._records.find_report(submission.id)
        if not self._restore(submission, report):
            return False
        if not self._records.exists(submission.id):
            # Its submit failed, or its client cancelled it, at the same time.
            scripts.CANCEL.run(
                self._redis, submission.id, rq_stamp(datetime.now(UTC)), self._settings.retention_s
            )
            return False
        if report:
            recovered.finished += 1
        else:
            recovered.queued += 1
        return True

    def _restore(self, submission: Submission, report: StoredReport | None) -> bool:
        queue = keys.queue_name(submission.model_ref, submission.priority)
        restored = scripts.RESTORE.run(
            self._redis,
            submission.id,
            submission.model_ref,
            submission.priority,
            queue,
            submission.created_at.timestamp(),
            *self._outcome(submission, report),
            *rq_fields(submission, self._settings),
        )
        return bool(restored)

    def _outcome(self, submission: Submission, stored: StoredReport | None) -> list[Argument]:
        if stored is None:
            return [""] * 7
        ended_at = stored.ended_at(submission)
        queued_for = timedelta(seconds=stored.report.timings_s.queue)
        return [
            stored.execution,
            stored.report.worker,
            rq_stamp(submission.created_at + queued_for),
            rq_stamp(ended_at),
            ended_at.timestamp(),
            self._settings.retention_s,
            encode_return_value(stored.report),
        ]
