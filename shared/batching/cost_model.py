"""What a batch costs, learnt as it runs: ``seconds = fixed_s + per_scan_s * scans``."""

import math
from dataclasses import dataclass
from statistics import fmean

#: The weight of a batch falls by this factor with each later one: about the last 50 count.
DECAY = 0.98
#: The prior that both costs are equal weighs as much as batches whose sizes have this sum of
#: squared differences. It is optimistic on purpose, so that a worker sometimes tries a bigger
#: batch and learns.
PRIOR_SPREAD = 0.2
#: A batch counts as at most this many times slower or faster than expected.
OUTLIER_FACTOR = 2.0
#: Drawing and settling a batch always costs something: the fixed part is at least this share of
#: what a scan adds, so that noise cannot hide the small gain of large batches at an overload.
LEAST_FIXED_SHARE = 0.01
#: The fixed part counts as this many standard errors less than fitted. On shared cores the times of
#: batches vary, and this noise must not look like a reason to batch.
DOUBT = 0.5
#: The shortest time that a batch counts as, because clocks are coarse (seconds).
CLOCK_TICK_S = 1e-6


@dataclass(frozen=True, slots=True)
class BatchCost:
    """A line: seconds that any batch costs, and seconds that each scan adds. Never negative."""

    fixed_s: float
    per_scan_s: float

    def seconds(self, size: float) -> float:
        """Return what a batch of ``size`` scans costs."""
        return self.fixed_s + self.per_scan_s * size


class CostLearner:
    """Exponentially weighted least squares over the batches seen, for one model.

    A single batch with an unusual time (a page fault, a throttled chip) moves the line by a
    fiftieth; a lasting change is learnt within about fifty batches.

    Args:
        pool: How many batches are learnt from together, as their mean. Concurrent batches do not
            have exactly equal shares of the machine: larger ones with more threads have more, and
            what one is charged too little another is charged too much. Their sum is right.
    """

    def __init__(self, pool: int = 1) -> None:
        self._pool = pool
        self._pooled: list[tuple[int, float]] = []
        self._prior_spread = PRIOR_SPREAD / pool
        self._cost: BatchCost | None = None
        self._weight = self._sizes = self._squares = 0.0
        self._seconds = self._products = self._seconds_squared = 0.0

    @property
    def cost(self) -> BatchCost | None:
        """The line that is known now; None before the first batch."""
        return self._cost

    def observe(self, size: int, seconds: float) -> None:
        """Learn from a batch of ``size`` scans, at least 1, that took ``seconds``."""
        self._pooled.append((size, max(seconds, CLOCK_TICK_S)))
        if len(self._pooled) == self._pool:
            self._learn(*(fmean(values) for values in zip(*self._pooled, strict=True)))
            self._pooled.clear()

    def _learn(self, size: float, seconds: float) -> None:
        if self._cost is not None:
            expected = self._cost.seconds(size)
            seconds = min(max(seconds, expected / OUTLIER_FACTOR), expected * OUTLIER_FACTOR)
        self._weight = self._weight * DECAY + 1
        self._sizes = self._sizes * DECAY + size
        self._squares = self._squares * DECAY + size * size
        self._seconds = self._seconds * DECAY + seconds
        self._products = self._products * DECAY + seconds * size
        self._seconds_squared = self._seconds_squared * DECAY + seconds * seconds
        self._cost = self._fit()

    def _fit(self) -> BatchCost:
        """Minimise the squared errors plus ``prior * (fixed_s - per_scan_s)**2``."""
        # On the line through the mean of the batches, the prior is steeper the larger they are.
        prior = self._prior_spread / (1 + self._sizes / self._weight) ** 2
        weight, cross = self._weight + prior, self._sizes - prior
        squares = self._squares + prior
        determinant = weight * squares - cross * cross  # positive, because sizes are at least 1
        fixed_s = (squares * self._seconds - cross * self._products) / determinant
        per_scan_s = (weight * self._products - cross * self._seconds) / determinant
        if per_scan_s < 0:
            return BatchCost(self._seconds / self._weight, 0.0)
        variance = self._squared_errors(fixed_s, per_scan_s) / self._weight
        fixed_s = max(0.0, fixed_s - DOUBT * math.sqrt(variance * squares / determinant))
        per_scan_s = (self._products - fixed_s * self._sizes) / self._squares
        if fixed_s < LEAST_FIXED_SHARE * per_scan_s:
            share = LEAST_FIXED_SHARE
            spread = self._squares + 2 * share * self._sizes + share**2 * self._weight
            per_scan_s = (self._products + share * self._seconds) / spread
            return BatchCost(share * per_scan_s, per_scan_s)
        return BatchCost(fixed_s, max(0.0, per_scan_s))

    def _squared_errors(self, fixed_s: float, per_scan_s: float) -> float:
        """Return the weighted sum of the squared errors of such a line."""
        cross = self._products - fixed_s * self._sizes
        return max(
            0.0,
            self._seconds_squared
            - 2 * fixed_s * self._seconds
            + fixed_s**2 * self._weight
            - per_scan_s * (2 * cross - per_scan_s * self._squares),
        )
