"""What the workers count in Redis and the front desk shows: names, kinds and what they tell.

A field of the hash in Redis is a metric's name with its labels. Of a histogram each observation
counts in its own bucket only, so it costs two fields however many buckets there are; whoever
shows them adds up the lower ones.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shared.results import Timings

#: From a small scan in memory to a large one that waited behind others.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 256)

#: A histogram's last bucket.
INFINITY = "+Inf"


@dataclass(frozen=True)
class Family:
    """A counter, or a histogram when it has bounds; ``label`` tells its samples apart."""

    description: str
    bounds: tuple[float, ...] = ()
    label: str = ""


FAMILIES = {
    "jobs_total": Family("Jobs that came to an end, by status.", label="status"),
    "job_failures_total": Family("Jobs that failed, by the type of their problem.", label="reason"),
    "jobs_retried_total": Family("Jobs put back after a fault that may pass."),
    "jobs_returned_total": Family("Started jobs that a worker gave back uncharged."),
    "unreadable_jobs_total": Family("Jobs whose record in the queue could not be read."),
    "leases_lost_total": Family("Started jobs whose worker died or fell silent."),
    "outcomes_dropped_total": Family("Outcomes of jobs that were cancelled or lost meanwhile."),
    "batches_total": Family("Batches settled."),
    "batch_size": Family("Scans in a batch.", _SIZES),
    "stage_seconds": Family(
        "Seconds that a finished scan spent in each stage.", _SECONDS, label="stage"
    ),
    "oom_splits_total": Family("Passes that ran out of memory and were halved."),
    "worker_seconds_total": Family("Seconds that workers were there."),
    "device_busy_seconds_total": Family("Seconds in which a worker's network computed."),
    "lane_seconds_total": Family("Seconds that workers' lanes were there."),
    "lane_busy_seconds_total": Family("Seconds in which lanes had a batch in hand."),
}


def observed(name: str, value: float, labels: str = "") -> dict[str, float]:
    """Return the fields of one observation of a histogram; ``labels`` as ``stage="load"``."""
    bounds = FAMILIES[name].bounds
    place = bisect_left(bounds, value)
    bound = bucket_bound(bounds[place]) if place < len(bounds) else INFINITY
    before = f"{labels}," if labels else ""
    return {
        f'{name}_bucket{{{before}le="{bound}"}}': 1.0,
        f"{name}_sum{{{labels}}}" if labels else f"{name}_sum": value,
    }


def bucket_bound(bound: float) -> str:
    """Return a bucket's upper bound as its label has it."""
    return f"{bound:g}"


def added(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the sum of several counts, field by field."""
    total: dict[str, float] = {}
    for part in parts:
        for field, amount in part.items():
            total[field] = total.get(field, 0.0) + amount
    return total


def batch_counts(size: int, finished: Iterable[Timings]) -> dict[str, float]:
    """Return what a settled batch of ``size`` adds, with the timings of the scans that finished."""
    stages = (
        observed("stage_seconds", seconds, f'stage="{stage}"')
        for timings in finished
        for stage, seconds in timings
        if stage != "total"
    )
    return added([{"batches_total": 1.0}, observed("batch_size", size), *stages])
