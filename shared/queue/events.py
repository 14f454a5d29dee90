"""What the queue tells those who listen: changes of status, and how far started jobs have come.

Two streams of Redis, read together: one message a change of status, and one a worker's report,
which may be about several jobs. Reports are only written while somebody listens.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from shared.jobs import JobStatus, Stage
from shared.queue import keys

T = TypeVar("T")


@dataclass(frozen=True)
class JobEvent:
    """One change of a job's status."""

    job_id: str
    status: JobStatus


@dataclass(frozen=True)
class JobProgress:
    """How far a job has come in its attempt number ``attempt``; ``progress`` is from 0 to 1."""

    job_id: str
    attempt: int
    stage: Stage
    progress: float


@dataclass(frozen=True)
class StreamOffsets:
    """Places in the two streams."""

    events: str
    progress: str

    @property
    def streams(self) -> dict[Any, Any]:
        """The streams' keys, each with the place to read on from."""
        return {keys.EVENTS: self.events, keys.PROGRESS: self.progress}


@dataclass(frozen=True)
class EventBatch:
    """What one read brought, in order, and where the next begins."""

    events: list[JobEvent]
    progress: list[JobProgress]
    offsets: StreamOffsets


def read_news(answer: Any, after: StreamOffsets) -> EventBatch:
    """Read the answer to an ``XREAD`` of both streams from ``after`` on.

    What this version cannot read, such as a status of a newer one, is left out.
    """
    entries = {key.decode(): found for key, found in _streams(answer)}
    events, progress = entries.get(keys.EVENTS, []), entries.get(keys.PROGRESS, [])
    return EventBatch(
        events=list(_readable(_event(fields) for _, fields in events)),
        progress=list(
            _readable(
                _progress(job_id, told) for _, fields in progress for job_id, told in fields.items()
            )
        ),
        offsets=StreamOffsets(_last(events, after.events), _last(progress, after.progress)),
    )


def _readable(read: Iterable[T | None]) -> Iterator[T]:
    return (one for one in read if one is not None)


def _event(fields: Mapping[bytes, bytes]) -> JobEvent | None:
    try:
        return JobEvent(fields[b"job"].decode(), JobStatus(fields[b"status"].decode()))
    except (KeyError, ValueError):
        return None


def _progress(job_id: bytes, told: bytes) -> JobProgress | None:
    try:
        attempt, stage, progress = told.decode().split()
        return JobProgress(job_id.decode(), int(attempt), Stage(stage), float(progress))
    except ValueError:
        return None


def _last(entries: list[Any], before: str) -> str:
    return str(entries[-1][0].decode()) if entries else before


def _streams(answer: Any) -> Iterator[tuple[bytes, list[Any]]]:
    # RESP2 answers with pairs, RESP3 with a mapping.
    for key, entries in answer.items() if isinstance(answer, dict) else answer or []:
        # RESP3 wraps the entries once more.
        yield key, entries[0] if entries and isinstance(entries[0], list) else entries
