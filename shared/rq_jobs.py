"""Jobs in RQ's own layout: how a submission becomes an RQ job, and how one is read back.

RQ writes the hash (:meth:`rq.job.Job.to_dict`) and defines the encodings used here, those of
:class:`rq.results.Result`; a test compares them with what a stock worker leaves behind.
"""

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, cast

from redis import Redis
from rq.job import Job as RqJob
from rq.job import JobStatus as RqStatus
from rq.job import Retry
from rq.serializers import JSONSerializer

from shared.errors import InferenceFailed
from shared.jobs import Job, JobStatus, Stage, Submission
from shared.keys import queue_name
from shared.results import Report
from shared.settings import Settings

#: The function every job names; a stock ``rq worker`` that runs it computes a batch of one.
TASK = "worker.tasks.segment"

# Creating a job talks to no server; RQ merely wants the attribute, and this one never connects.
_UNUSED = Redis()
_STAMP = "%Y-%m-%dT%H:%M:%S.%fZ"
_STATUS = {
    **{status.value: status for status in JobStatus},
    RqStatus.STOPPED.value: JobStatus.FAILED,
}


def rq_fields(submission: Submission, settings: Settings) -> list[str | bytes | int]:
    """Return the fields and values of the RQ hash for a new, queued job."""
    job = RqJob.create(
        TASK,
        args=(submission.id,),
        connection=_UNUSED,
        id=submission.id,
        serializer=JSONSerializer,
        status=RqStatus.QUEUED,
        origin=queue_name(submission.model_ref, submission.priority),
        description=f"{submission.model_ref} {submission.priority}",
        timeout=int(settings.job_timeout_s),
        result_ttl=int(settings.retention_s),
        failure_ttl=int(settings.retention_s),
        # For registry clean-ups of RQ's own, which fail an abandoned job that has no retry.
        retry=Retry(max=settings.max_attempts - 1) if settings.max_attempts > 1 else None,
    )
    job.created_at = job.enqueued_at = submission.created_at
    fields = job.to_dict(include_meta=False, include_result=False)
    fields["voxelq_submission"] = submission.model_dump_json(exclude_none=True)
    return [part for item in fields.items() for part in item]


def read_job(view: list[Any], pace: tuple[float | None, int]) -> Job:
    """Build a job from what the scripts' ``view`` function returns, and the queue's pace."""
    fields = dict(_pairs(view[0]))
    status = _STATUS.get(fields[b"status"].decode(), JobStatus.QUEUED)
    report = _latest_report(view[2]) if status is JobStatus.FINISHED else None
    position = max(0, int(view[1])) if status is JobStatus.QUEUED else None
    return Job(
        submission=Submission.model_validate_json(fields[b"voxelq_submission"]),
        status=status,
        attempts=int(fields.get(b"voxelq_attempts", 0)),
        losses=int(fields.get(b"voxelq_losses", 0)),
        returns=int(fields.get(b"voxelq_returns", 0)),
        started_at=_time(fields.get(b"started_at")),
        finished_at=_time(fields.get(b"ended_at")) if status.terminal else None,
        position=position,
        eta_s=None if position is None else estimate(position, pace),
        progress=_progress(fields, status),
        stage=_stage(fields) if status is JobStatus.STARTED else None,
        worker=fields.get(b"worker_name", b"").decode() or None,
        report=report,
        error=_problem(fields, status),
    )


def estimate(position: int, pace: tuple[float | None, int]) -> float | None:
    """Return the seconds until a job with ``position`` ahead is done; None if nothing is known."""
    seconds_per_scan, workers = pace
    if seconds_per_scan is None or workers == 0:
        return None
    return seconds_per_scan * (position / workers + 1)


def read_pace(pace: list[Any]) -> tuple[float | None, int]:
    """Read the scripts' ``pace``: seconds a scan costs now, and live workers."""
    return (float(pace[0]) if pace[0] else None, int(pace[1]))


def encode_return_value(report: Report) -> str:
    """Encode a report as RQ's results stream holds a return value."""
    return b64encode(report.model_dump_json().encode()).decode()


def encode_exception(problem: dict[str, Any]) -> str:
    """Encode a problem's words as RQ's results stream holds an exception."""
    text = f"{problem['title']}: {problem['detail']}"
    return b64encode(zlib.compress(text.encode())).decode()


def rq_stamp(time: datetime) -> str:
    """Format a time as RQ's hashes hold it."""
    return time.astimezone(UTC).strftime(_STAMP)


def _pairs(flat: list[bytes]) -> Iterable[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _time(value: bytes | None) -> datetime | None:
    if not value:
        return None
    return datetime.strptime(value.decode(), _STAMP).replace(tzinfo=UTC)


def _progress(fields: dict[bytes, bytes], status: JobStatus) -> float:
    if status is JobStatus.FINISHED:
        return 1.0
    return 0.0 if status is JobStatus.QUEUED else float(fields.get(b"voxelq_progress", 0))


def _stage(fields: dict[bytes, bytes]) -> Stage:
    return Stage(fields.get(b"voxelq_stage", b"load").decode())


def _latest_report(entries: list[Any]) -> Report | None:
    for _, flat in entries:
        value = dict(_pairs(flat)).get(b"return_value")
        if value:
            return Report.parse(b64decode(value))
    return None


def _problem(fields: dict[bytes, bytes], status: JobStatus) -> dict[str, Any] | None:
    if status is not JobStatus.FAILED:
        return None
    stored = fields.get(b"voxelq_problem")
    if stored:
        return cast("dict[str, Any]", json.loads(stored))
    return InferenceFailed("It failed in a worker that left no reason.").problem()
