"""Records of jobs in the store, from which a queue that lost its data can be recovered.

Beside a job's scan there is a record of its submission, written before the job is queued, and a
report for each execution that computed its mask.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError
from redis import Redis

from shared.errors import StoreFull, StoreUnavailable
from shared.jobs import Submission
from shared.queue import keys
from shared.results import Report
from shared.storage.store import RECORD_NAME, ScanStore

log = structlog.get_logger()

_REPORT_END = ".report.json"
_BATCH = 200


class JobRecord(BaseModel):
    """A submission, and the id of the data set that its job belongs to."""

    model_config = ConfigDict(frozen=True)

    service: str
    submission: Submission


class StoredReport(BaseModel):
    """The report of one execution whose mask is in the store."""

    model_config = ConfigDict(frozen=True)

    execution: str
    report: Report

    def ended_at(self, submission: Submission) -> datetime:
        """Return when the job was finished."""
        return submission.created_at + timedelta(seconds=self.report.timings_s.total)


class JobRecords:
    """The records and reports in one store. Every method may raise StoreUnavailable."""

    def __init__(self, store: ScanStore) -> None:
        self._store = store

    def write(self, record: JobRecord) -> None:
        """Write the record of a new job; raises StoreFull too."""
        self._store.write(_record_key(record.submission.id), _encode(record))

    def replace(self, record: JobRecord) -> None:
        """Replace the record of a job in one step; raises StoreFull too."""
        self._store.replace(_record_key(record.submission.id), _encode(record))

    def remove(self, job_id: str) -> None:
        """Remove the record of a job, so that it will not be recovered."""
        self._store.delete(_record_key(job_id))

    def exists(self, job_id: str) -> bool:
        """Return whether a job has a record."""
        try:
            return self._store.size(_record_key(job_id)) > 0
        except FileNotFoundError:
            return False

    def read(self, job_id: str) -> JobRecord | None:
        """Return the record of a job; None if there is none, or this version cannot read it."""
        try:
            record = JobRecord.model_validate_json(self._store.read(_record_key(job_id)))
        except (FileNotFoundError, ValidationError):
            return None
        return record if record.submission.id == job_id else None

    def service_of(self, job_id: str) -> str | None:
        """Return the data set's id from a job's record; None if it cannot be read."""
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            return str(json.loads(self._store.read(_record_key(job_id)))["service"])
        return None

    def write_report(self, job_id: str, execution: str, report: Report) -> None:
        """Write the report of an execution. If the store fails, only this copy is missing."""
        try:
            self._store.write(report_key(job_id, execution), report.model_dump_json().encode())
        except (StoreFull, StoreUnavailable) as error:
            log.warning("report_not_stored", job=job_id, error=type(error).__name__)

    def find_report(self, job_id: str) -> StoredReport | None:
        """Return a report of a job whose mask is in the store as well; None if there is none."""
        for name in sorted(self._store.file_names(job_id)):
            if not name.endswith(_REPORT_END):
                continue
            execution = name.removesuffix(_REPORT_END)
            with suppress(FileNotFoundError, ValidationError, KeyError):
                report = Report.parse(self._store.read(report_key(job_id, execution)))
                if self._store.size(report.artefacts["mask"]) > 0:
                    return StoredReport(execution=execution, report=report)
        return None


def unknown_jobs(redis: Redis, store: ScanStore) -> Iterator[str]:
    """Yield the ids of jobs that are in the store but not in the queue.

    May raise RedisError and StoreUnavailable.
    """
    job_ids = store.job_ids()
    while batch := list(islice(job_ids, _BATCH)):
        with redis.pipeline(transaction=False) as pipeline:
            for job_id in batch:
                pipeline.exists(keys.RQ_JOB + job_id)
            exists = pipeline.execute()
        yield from (job_id for job_id, known in zip(batch, exists, strict=True) if not known)


def report_key(job_id: str, execution: str) -> str:
    """Return the store's key of the report of one execution."""
    return f"{ScanStore.folder(job_id)}/{execution}{_REPORT_END}"


def _encode(record: JobRecord) -> bytes:
    return record.model_dump_json(exclude_none=True).encode()


def _record_key(job_id: str) -> str:
    return f"{ScanStore.folder(job_id)}/{RECORD_NAME}"
