"""Pure policy: how many jobs go together, and how long the first of them may wait for company.

While a batch computes, the next one gathers in the queue by itself; so a worker only ever waits
when it has just seen company, which is when more is likely to come within the window.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class BatchPolicy:
    """Bounds of a batch: ``max_size`` scans, ``max_latency_s`` seconds from the first draw.

    ``adaptive`` waits under load only, and leaves idle workers their share of a short queue;
    without it a batch always gathers up to ``max_size`` within ``max_latency_s``.
    """

    max_size: int
    max_latency_s: float
    adaptive: bool

    def wants_more(self, *, size: int, waited_s: float, previous_size: int) -> bool:
        """Tell whether a batch of ``size`` should go on gathering after ``waited_s`` seconds."""
        if size == 0 or size >= self.max_size:
            return False
        if self.adaptive and previous_size <= 1:
            return False
        return waited_s < self.max_latency_s


def halves(batch: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """Split a batch that failed, so that its culprit is found in log2(n) steps."""
    middle = (len(batch) + 1) // 2
    return batch[:middle], batch[middle:]
