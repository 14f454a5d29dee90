"""The batches that a worker has begun and not settled, and what each of them costs."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from worker.pipeline.outcomes import LeasedJob


@dataclass(frozen=True, eq=False)
class Batch:
    """Jobs that go together, and what the clock of costs showed as they were taken in hand."""

    jobs: list[LeasedJob]
    entered_s: float
    began_s: float


class BatchCharge(NamedTuple):
    """What a batch cost: seconds of the whole machine, and batches in hand meanwhile (a mean)."""

    cost_s: float
    concurrency: float


class ActiveBatches:
    """Shared by a worker's lanes.

    Of ``n`` batches in hand each has an n-th of the machine. So a batch costs what a clock shows
    that runs at an n-th of the real one's speed: the costs of all batches then add up to the time
    that the worker was busy, however many it had in hand.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._changed = threading.Condition()
        self._batches: list[Batch] = []
        self._cost_s = 0.0
        self._at = now()

    @property
    def ids(self) -> tuple[str, ...]:
        """The jobs of all batches."""
        with self._changed:
            return tuple(job.id for batch in self._batches for job in batch.jobs)

    def enter(self, jobs: list[LeasedJob]) -> Batch:
        """Take a batch in hand."""
        with self._changed:
            batch = Batch(jobs, self._tick(), self._at)
            self._batches.append(batch)
        return batch

    def leave(self, batch: Batch) -> BatchCharge:
        """Put a batch down; returns what it cost."""
        with self._changed:
            cost_s = self._tick() - batch.entered_s
            passed_s = self._at - batch.began_s
            self._batches.remove(batch)
            self._changed.notify_all()
        return BatchCharge(cost_s, passed_s / cost_s if cost_s > 0 else 1.0)

    def __len__(self) -> int:
        """How many batches there are."""
        with self._changed:
            return len(self._batches)

    def wait_until_empty(self) -> None:
        """Return once nothing is in hand."""
        with self._changed:
            self._changed.wait_for(lambda: not self._batches)

    def _tick(self) -> float:
        now = self._now()
        if self._batches:
            self._cost_s += (now - self._at) / len(self._batches)
        self._at = now
        return self._cost_s
