"""What a draw returns: the jobs that it leased, and the queue's state right after it."""

from dataclasses import dataclass

from worker.pipeline.outcomes import LeasedJob


@dataclass(frozen=True)
class Traffic:
    """The queue's state right after a draw.

    Args:
        left: Jobs still queued.
        ever_queued: Jobs that were queued since the queue began.
        workers: Live workers.
        idle: Workers without a job, this one counted as idle, and this one's other idle lanes.
        ages_s: How long each of the drawn jobs had been queued, in their order.
    """

    left: int
    ever_queued: int
    workers: int
    idle: int
    ages_s: tuple[float, ...] = ()


@dataclass(frozen=True)
class Draw:
    """The jobs that a draw leased, and what it saw; no traffic while the workers are suspended."""

    jobs: tuple[LeasedJob, ...]
    traffic: Traffic | None
