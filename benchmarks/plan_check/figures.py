"""The figures of a load, in which a real run and a simulated one are compared."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

#: The first scans of a load are left out: their queue is still filling.
_WARM_SHARE = 0.1


@dataclass(frozen=True)
class Figures:
    """Times from submit to result, throughput and mean batch size of one load."""

    mean_s: float
    p95_s: float
    scans_per_s: float
    batch_size: float

    @classmethod
    def of(
        cls, arrived_s: NDArray[np.float64], response_s: NDArray[np.float64], batch_size: float
    ) -> "Figures":
        """Return the figures of scans in the order of their arrival."""
        warm = int(len(arrived_s) * _WARM_SHARE)
        return cls(
            float(response_s[warm:].mean()),
            float(np.percentile(response_s[warm:], 95)),
            len(arrived_s) / float((arrived_s + response_s).max() - arrived_s.min()),
            batch_size,
        )

    @classmethod
    def mean_of(cls, runs: Sequence["Figures"]) -> "Figures":
        """Return the mean of each figure."""
        return cls(
            **{
                field.name: statistics.fmean(getattr(run, field.name) for run in runs)
                for field in fields(cls)
            }
        )
