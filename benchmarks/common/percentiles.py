"""Percentiles, computed in one way by all benchmarks."""

import statistics
from collections.abc import Sequence


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile, 1 to 99, interpolated between the two nearest values.

    Of a single value every percentile is that value.
    """
    if len(values) < 2:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
