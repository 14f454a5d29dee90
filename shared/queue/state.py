"""The state of the queue at one moment, and how it is read from what ``state.lua`` returns."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import structlog
from pydantic import TypeAdapter, ValidationError

from shared.queue.rq_jobs import estimate_seconds_left, pairs, read_pace

log = structlog.get_logger()


@dataclass(frozen=True)
class WorkerInfo:
    """A live worker as it describes itself.

    ``batch`` lists the ids of its started jobs; ``paused`` says why it draws no jobs, and is None
    while it does.
    """

    id: str
    model: str | None = None
    device: str = ""
    batch: tuple[str, ...] = ()
    precision: str = ""
    memory_format: str = ""
    compiled: bool = False
    peak_memory_bytes: int | None = None
    paused: str | None = None
    version: str | None = None


#: Ignores fields that this version does not know, such as those of a newer worker.
_WORKER = TypeAdapter(WorkerInfo)


@dataclass(frozen=True)
class QueueState:
    """The whole queue at one moment.

    Times are estimates from the cost of recent scans. ``waiting`` counts the jobs that no worker
    has drawn, by priority. ``metrics`` holds the workers' counters, by the names of
    `shared.queue.worker_metrics`. ``scans_per_batch`` is None before the first batch.
    ``scans_per_hour`` is the rate of the last ten minutes.
    """

    queued: int
    started: int
    workers: tuple[WorkerInfo, ...]
    seconds_per_scan: float | None
    eta_s: float | None
    scans_per_batch: float | None
    scans_per_hour: float
    oldest_queued_s: float
    waiting: dict[str, int]
    metrics: dict[str, float]


def read_state(reply: list[Any]) -> QueueState:
    """Read the reply of the script ``state``."""
    queued, started, pace, workers, oldest_s, counts, waiting, finished, seconds = reply
    seconds_per_scan, live_workers = read_pace(pace)
    metrics = {name.decode(): float(amount) for name, amount in pairs(counts)}
    return QueueState(
        queued=queued,
        started=started,
        workers=tuple(_read_workers(workers)),
        seconds_per_scan=seconds_per_scan,
        eta_s=estimate_seconds_left(queued, (seconds_per_scan, live_workers)),
        scans_per_batch=metrics.get("scans_per_batch"),
        scans_per_hour=3600 * finished / float(seconds),
        oldest_queued_s=float(oldest_s),
        waiting={name.decode(): count for name, count in pairs(waiting)},
        metrics=metrics,
    )


def _read_workers(workers: Iterable[bytes]) -> Iterator[WorkerInfo]:
    for facts in workers:
        try:
            yield _WORKER.validate_json(facts)
        except ValidationError:
            log.warning("worker_facts_unreadable")
