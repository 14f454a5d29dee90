"""Jobs that the queue lost and the store still has: found by their records, and written again.

A job whose mask is in the store comes back as finished. Any other is queued again under its own
id, with its own priority and ahead of what came later.
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

#: A job submitted later is left for now (seconds): its submit may be under way, and a worker may
#: be about to remove what it computed for a lease that it lost.
SETTLING_S = 5.0


@dataclass
class Recovered:
    """What became of the jobs that the queue does not know."""

    queued: int = 0  #: They wait again.
    finished: int = 0  #: Their masks were there.
    waiting: int = 0  #: Too young to tell; they are to be looked at again.
    unreadable: int = 0  #: Their records cannot be read.
    #: Jobs of other data sets, by the id of each.
    others: Counter[str] = field(default_factory=Counter)


class Recovery:
    """Recovers the jobs of one queue. Every method may raise RedisError and StoreUnavailable."""

    def __init__(self, redis: Redis, store: ScanStore, settings: Settings) -> None:
        self._redis = redis
        self._store = store
        self._settings = settings
        self._records = JobRecords(store)

    def is_lost(self, job_id: str, services: Container[str]) -> bool:
        """Return whether a job is one of the data sets ``services`` and the queue has lost it."""
        record = self._records.read(job_id)
        if record is None or record.service not in services:
            return False
        return not self._redis.exists(keys.RQ_JOB + job_id)

    def count_lost(self) -> Counter[str]:
        """Return how many jobs the store has that the queue does not know, by their data sets."""
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
        """Recover every lost job of the data sets ``services``; safe to repeat at any time.

        Args:
            service: The id of the data set that Redis holds now, which the jobs belong to then.
            services: The ids of the data sets that were lost, that one included.
            on_restored: Is told each job's id.

        """
        recovered = Recovered()
        settled_before = datetime.now(UTC) - timedelta(seconds=SETTLING_S)
        # The youngest first, for each is put before the others.
        for job_id in sorted(unknown_jobs(self._redis, self._store), reverse=True):
            try:
                found = self._records.service_of(job_id)
                if found is None:
                    continue
                if found not in services:
                    recovered.others[found] += 1
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
            # Its client was refused, or cancelled it, at this very moment.
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
