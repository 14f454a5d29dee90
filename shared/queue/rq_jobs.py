"""How a submission becomes an RQ job, and how the parts of a job are encoded in RQ's layout.

The hash comes from RQ itself (:meth:`rq.job.Job.to_dict`), and the encodings are those of
:class:`rq.results.Result`; a test compares them with what a stock worker writes.
"""

import json
import zlib
from base64 import b64encode
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from redis import Redis
from rq.job import Job as RqJob
from rq.job import JobStatus as RqStatus
from rq.job import Retry
from rq.serializers import JSONSerializer

from shared.jobs import Submission
from shared.queue.keys import queue_name
from shared.results import Report
from shared.settings import Settings

#: The message for users of a job whose record this version cannot read.
UNREADABLE = (
    "Its record in the queue is damaged or was written by another version of VoxelQ. "
    "Submit the scan again."
)

#: The function that every job names. A stock ``rq worker`` that runs it computes a batch of one.
TASK = "worker.tasks.segment"

# RQ needs a connection to create a job, but does not use it; this one never connects.
_UNUSED = Redis()
#: The format of times in RQ's hashes.
RQ_STAMP = "%Y-%m-%dT%H:%M:%S.%fZ"


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
        # Without retries, RQ's clean-up of its registries marks an abandoned job as failed.
        retry=Retry(max=settings.max_attempts - 1) if settings.max_attempts > 1 else None,
    )
    job.created_at = job.enqueued_at = submission.created_at
    fields = job.to_dict(include_meta=False, include_result=False)
    # RQ reads it uncompressed too, and Redis packs a hash only if its values are short.
    fields["data"] = json.dumps([TASK, None, [submission.id], {}], separators=(",", ":"))
    fields["voxelq_submission"] = submission.model_dump_json(exclude_none=True)
    return [part for item in fields.items() if item[1] != "" for part in item]


def estimate_seconds_left(position: int, pace: tuple[float | None, int]) -> float | None:
    """Return the seconds until a job with ``position`` jobs ahead is done; None if unknown."""
    seconds_per_scan, workers = pace
    if seconds_per_scan is None or workers == 0:
        return None
    return seconds_per_scan * (position / workers + 1)


def read_pace(pace: list[Any]) -> tuple[float | None, int]:
    """Read the ``pace`` that scripts return: current seconds per scan, and live workers."""
    return (float(pace[0]) if pace[0] else None, int(pace[1]))


def pairs(flat: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield the fields and values of what Redis returns as one flat list."""
    return zip(flat[::2], flat[1::2], strict=True)


def encode_return_value(report: Report) -> str:
    """Encode a report as RQ's results stream holds a return value."""
    return b64encode(report.model_dump_json().encode()).decode()


def encode_exception(problem: dict[str, Any]) -> str:
    """Encode a problem's text as RQ's results stream holds an exception."""
    text = f"{problem['title']}: {problem['detail']}"
    return b64encode(zlib.compress(text.encode())).decode()


def rq_stamp(time: datetime) -> str:
    """Format a time as RQ's hashes hold it."""
    return time.astimezone(UTC).strftime(RQ_STAMP)
