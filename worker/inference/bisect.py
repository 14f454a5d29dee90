"""What becomes of a batch that failed. What forms a batch: :mod:`shared.batching.policy`."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def halves(batch: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """Split a batch that failed, so that its culprit is found in log2(n) steps."""
    middle = (len(batch) + 1) // 2
    return batch[:middle], batch[middle:]
