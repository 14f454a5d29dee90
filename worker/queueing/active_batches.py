"""The batches that a worker has drawn and not settled, and what each of them costs."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from worker.pipeline.outcomes import LeasedJob


@dataclass(frozen=True, eq=False)
class Batch:
    """Jobs that are computed together, and the readings of both clocks when it began."""

    jobs: list[LeasedJob]
    cost_before_s: float
    began_s: float

    @property
    def alone(self) -> bool:
        """Whether no other batch may be active meanwhile."""
        return self.jobs[0].alone


class BatchCharge(NamedTuple):
    """What a batch cost: seconds of the whole worker, and active batches meanwhile (a mean)."""

    cost_s: float
    concurrency: float


class ActiveBatches:
    """Shared by a worker's lanes; thread-safe.

    Each of ``n`` active batches has an n-th of the machine. So its cost is measured by a clock that
    runs at an n-th of the real one's speed: the costs of all batches then add up to the time that
    the worker was busy, however many were active.
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

    def begin(self, jobs: list[LeasedJob]) -> Batch:
        """Add a batch of these jobs."""
        with self._changed:
            batch = Batch(jobs, self._tick(), self._at)
            self._batches.append(batch)
        return batch

    def finish(self, batch: Batch) -> BatchCharge:
        """Mark a batch finished; return its cost."""
        with self._changed:
            cost_s = self._tick() - batch.cost_before_s
            passed_s = self._at - batch.began_s
            self._batches.remove(batch)
            self._changed.notify_all()
        return BatchCharge(cost_s, passed_s / cost_s if cost_s > 0 else 1.0)

    def __len__(self) -> int:
        """How many batches there are."""
        with self._changed:
            return len(self._batches)

    def wait_until_empty(self) -> None:
        """Return once no batch is active."""
        with self._changed:
            self._changed.wait_for(lambda: not self._batches)

    def _tick(self) -> float:
        now = self._now()
        if self._batches:
            self._cost_s += (now - self._at) / len(self._batches)
        self._at = now
        return self._cost_s
