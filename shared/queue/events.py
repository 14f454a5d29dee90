"""The queue's events: changes of jobs' status, and the progress of started jobs.

They are two Redis streams that are read together. A change of status is one entry; a worker's
progress update is one entry too, for several jobs. Progress is only written while an API process
requests it (`JobQueue.request_progress`).
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
    """The progress of a job in its attempt number ``attempt``, from 0 to 1."""

    job_id: str
    attempt: int
    stage: Stage
    progress: float


@dataclass(frozen=True)
class StreamOffsets:
    """The ids of the last entries that were read from the two streams."""

    events: str
    progress: str

    @property
    def streams(self) -> dict[Any, Any]:
        """The streams' keys, each with the id to continue after."""
        return {keys.EVENTS: self.events, keys.PROGRESS: self.progress}


@dataclass(frozen=True)
class EventBatch:
    """The events of one read, in order, and the offsets that the next read continues after."""

    events: list[JobEvent]
    progress: list[JobProgress]
    offsets: StreamOffsets


def read_events(reply: Any, after: StreamOffsets) -> EventBatch:
    """Read the reply to an ``XREAD`` of both streams after the offsets ``after``.

    Entries that this version cannot read, such as a status of a newer version, are left out.
    """
    entries = {key.decode(): stream for key, stream in _streams(reply)}
    events, progress = entries.get(keys.EVENTS, []), entries.get(keys.PROGRESS, [])
    return EventBatch(
        events=list(_readable(_event(fields) for _, fields in events)),
        progress=list(
            _readable(
                _progress(job_id, update)
                for _, fields in progress
                for job_id, update in fields.items()
            )
        ),
        offsets=StreamOffsets(_last(events, after.events), _last(progress, after.progress)),
    )


def _readable(read: Iterable[T | None]) -> Iterator[T]:
    return (event for event in read if event is not None)


def _event(fields: Mapping[bytes, bytes]) -> JobEvent | None:
    try:
        return JobEvent(fields[b"job"].decode(), JobStatus(fields[b"status"].decode()))
    except (KeyError, ValueError):
        return None


def _progress(job_id: bytes, update: bytes) -> JobProgress | None:
    try:
        attempt, stage, progress = update.decode().split()
        return JobProgress(job_id.decode(), int(attempt), Stage(stage), float(progress))
    except ValueError:
        return None


def _last(entries: list[Any], before: str) -> str:
    return str(entries[-1][0].decode()) if entries else before


def _streams(reply: Any) -> Iterator[tuple[bytes, list[Any]]]:
    # RESP2 returns pairs, RESP3 a mapping.
    for key, entries in reply.items() if isinstance(reply, dict) else reply or []:
        # RESP3 puts the entries into one more list.
        yield key, entries[0] if entries and isinstance(entries[0], list) else entries
