"""The metrics that workers count in Redis and the API exports: names, kinds and descriptions.

A field of the hash in Redis is a metric's name with its labels. An observation of a histogram
changes two fields: the bucket that it falls into, and the sum. The API makes the buckets cumulative
when it exports them.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shared.results import Timings

#: From a small scan in memory to a large one that waited for others.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 256)

#: A histogram's last bucket.
INFINITY = "+Inf"


@dataclass(frozen=True)
class Family:
    """A counter, or a histogram if it has bounds; ``label`` is the name of its label, if any."""

    description: str
    bounds: tuple[float, ...] = ()
    label: str = ""


FAMILIES = {
    "jobs_total": Family("Jobs that came to an end, by status.", label="status"),
    "job_failures_total": Family("Jobs that failed, by the type of their problem.", label="reason"),
    "jobs_retried_total": Family("Jobs put back after a fault that may pass."),
    "jobs_returned_total": Family("Started jobs that a worker gave back uncharged."),
    "unreadable_jobs_total": Family("Jobs whose record in the queue could not be read."),
    "leases_lost_total": Family("Started jobs whose worker died or stopped sending heartbeats."),
    "outcomes_dropped_total": Family("Outcomes of jobs that were cancelled or lost meanwhile."),
    "batches_total": Family("Batches settled."),
    "batch_size": Family("Scans in a batch.", _SIZES),
    "stage_seconds": Family(
        "Seconds that a finished scan spent in each stage.", _SECONDS, label="stage"
    ),
    "oom_splits_total": Family("Passes that ran out of memory and were halved."),
    "worker_seconds_total": Family("Seconds that workers ran."),
    "device_busy_seconds_total": Family("Seconds in which a worker's network computed."),
    "lane_seconds_total": Family("Seconds that workers' lanes existed."),
    "lane_busy_seconds_total": Family("Seconds in which lanes worked on a batch."),
}


def observation_fields(name: str, value: float, labels: str = "") -> dict[str, float]:
    """Return the fields of one observation of a histogram; ``labels`` as ``stage="load"``."""
    bounds = FAMILIES[name].bounds
    index = bisect_left(bounds, value)
    bound = bucket_bound(bounds[index]) if index < len(bounds) else INFINITY
    prefix = f"{labels}," if labels else ""
    return {
        f'{name}_bucket{{{prefix}le="{bound}"}}': 1.0,
        f"{name}_sum{{{labels}}}" if labels else f"{name}_sum": value,
    }


def bucket_bound(bound: float) -> str:
    """Return a bucket's upper bound as the label ``le`` writes it."""
    return f"{bound:g}"


def sum_counts(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the sum of several counts, field by field."""
    total: dict[str, float] = {}
    for part in parts:
        for field, amount in part.items():
            total[field] = total.get(field, 0.0) + amount
    return total


def batch_counts(size: int, finished: Iterable[Timings]) -> dict[str, float]:
    """Return the metrics of a settled batch of ``size``, with the timings of finished scans."""
    stages = (
        observation_fields("stage_seconds", seconds, f'stage="{stage}"')
        for timings in finished
        for stage, seconds in timings
        if stage != "total"
    )
    return sum_counts([{"batches_total": 1.0}, observation_fields("batch_size", size), *stages])
