"""How a batch that failed is split. :mod:`shared.batching.policy` decides how it is formed."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def halves(batch: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """Split a batch that failed, so that the scan at fault is found in log2(n) steps."""
    middle = (len(batch) + 1) // 2
    return batch[:middle], batch[middle:]
