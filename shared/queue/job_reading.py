"""Reads a job from RQ's layout, even if its record is damaged or of another version.

Such a job has the fields that can be read, and its error says that the record cannot be read.
Reading it never fails, so that it breaks no listing and no other job.
"""

import json
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from pydantic import BaseModel, ValidationError
from rq.job import JobStatus as RqStatus
from ulid import ULID

from shared.errors import InferenceFailed, JobUnreadable
from shared.jobs import Job, JobStatus, Priority, Stage, Submission
from shared.queue.rq_jobs import RQ_STAMP, UNREADABLE, estimate_seconds_left, pairs
from shared.results import Report

_STATUS = {
    **{status.value: status for status in JobStatus},
    RqStatus.STOPPED.value: JobStatus.FAILED,
    **{
        status.value: JobStatus.QUEUED
        for status in (RqStatus.CREATED, RqStatus.DEFERRED, RqStatus.SCHEDULED)
    },
}

Fields = Mapping[bytes, bytes]


class _Problem(BaseModel):
    """The members that a stored problem must have."""

    type: str
    title: str
    status: int
    detail: str


def read_job(view: list[Any], pace: tuple[float | None, int]) -> Job:
    """Build a job from what the Lua functions ``view`` and ``pace`` return.

    If some of its record cannot be read, its ``error`` is the problem `JobUnreadable`.
    """
    fields, result, job_id = dict(pairs(view[0])), _latest(view[2]), view[3].decode()
    known_status = _STATUS.get(_text(fields, b"status"))
    status = known_status or JobStatus.FAILED
    stored = fields.get(b"voxelq_submission") or result.get(b"voxelq_submission") or b""
    submission = _submission(stored)
    report = _report(result) if status is JobStatus.FINISHED else None
    readable = known_status and submission and (report or status is not JobStatus.FINISHED)
    position = max(0, int(view[1])) if status is JobStatus.QUEUED else None
    return Job(
        submission=submission or _submission_in_part(job_id, stored, fields),
        status=status,
        attempts=_count(fields, b"voxelq_attempts"),
        losses=_count(fields, b"voxelq_losses"),
        returns=_count(fields, b"voxelq_returns"),
        started_at=_time(fields, b"started_at"),
        finished_at=_time(fields, b"ended_at") if status.terminal else None,
        position=position,
        eta_s=None if position is None else estimate_seconds_left(position, pace),
        progress=_progress(fields, status),
        stage=_stage(fields) if status is JobStatus.STARTED else None,
        worker=_text(fields, b"worker_name") or None,
        report=report,
        error=_problem(fields, status) if readable else JobUnreadable(UNREADABLE).problem(),
    )


def _submission(stored: bytes) -> Submission | None:
    try:
        return Submission.model_validate_json(stored)
    except ValidationError:
        return None


def _submission_in_part(job_id: str, stored: bytes, fields: Fields) -> Submission:
    """Return what can be read of a submission; the rest is empty."""
    try:
        read = json.loads(stored)
    except (ValueError, RecursionError):
        read = None
    facts = read if isinstance(read, dict) else {}
    model, _, version = _text(fields, b"voxelq_model").rpartition("@")
    priority = facts.get("priority") or _text(fields, b"voxelq_priority")
    return Submission(
        id=job_id,
        model=str(facts.get("model") or model),
        version=str(facts.get("version") or version),
        priority=Priority(priority) if priority in list(Priority) else Priority.ROUTINE,
        scans={},
        sha256=str(facts.get("sha256") or ""),
        created_at=_created(job_id, fields),
    )


def _created(job_id: str, fields: Fields) -> datetime:
    try:
        return ULID.from_str(job_id).datetime
    except ValueError:
        return _time(fields, b"created_at") or datetime.fromtimestamp(0, UTC)


def _report(result: Fields) -> Report | None:
    try:
        report = Report.parse(b64decode(result.get(b"return_value", b"")))
        report.model_dump_json()
    except ValueError:  # ValidationError is one
        return None
    return report


def _problem(fields: Fields, status: JobStatus) -> dict[str, Any] | None:
    if status is not JobStatus.FAILED:
        return None
    stored = fields.get(b"voxelq_problem")
    if not stored:
        return InferenceFailed("It failed in a worker that left no reason.").problem()
    try:
        problem = json.loads(stored)
        _Problem.model_validate(problem, strict=True)
    except (ValueError, RecursionError):
        return JobUnreadable(UNREADABLE).problem()
    return dict(problem)


def _text(fields: Fields, name: bytes) -> str:
    return fields.get(name, b"").decode(errors="replace")


def _count(fields: Fields, name: bytes) -> int:
    try:
        return max(0, int(fields.get(name, 0)))
    except ValueError:
        return 0


def _time(fields: Fields, name: bytes) -> datetime | None:
    try:
        return datetime.strptime(_text(fields, name), RQ_STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None


def _progress(fields: Fields, status: JobStatus) -> float:
    if status is JobStatus.FINISHED:
        return 1.0
    if status is JobStatus.QUEUED:
        return 0.0
    try:
        progress = float(fields.get(b"voxelq_progress", 0))
    except ValueError:
        return 0.0
    return min(1.0, max(0.0, progress)) if isfinite(progress) else 0.0


def _stage(fields: Fields) -> Stage | None:
    """Return the stage; None for one that this version does not know."""
    stage = _text(fields, b"voxelq_stage") or Stage.LOAD
    return Stage(stage) if stage in list(Stage) else None


def _latest(entries: list[Any]) -> Fields:
    return dict(pairs(entries[0][1])) if entries else {}
