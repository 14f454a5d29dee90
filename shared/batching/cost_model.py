"""What a batch costs, learnt as it runs: ``seconds = fixed_s + per_scan_s * scans``."""

import math
from dataclasses import dataclass
from statistics import fmean

#: Each batch weighs this much less with every one after it: the last 50 or so count.
DECAY = 0.98
#: The two costs are held to be alike as firmly as sizes with this sum of squared differences would
#: tell. Optimistic on purpose: it has a worker try a bigger batch now and then, and so learn.
PRIOR_SPREAD = 0.2
#: A batch counts as at most this many times slower or faster than it was expected to be.
OUTLIER_FACTOR = 2.0
#: Drawing and settling a batch is never quite free: its fixed part is at least this share of what
#: a scan adds, so that noise cannot hide the little that large batches gain at an overload.
LEAST_FIXED_SHARE = 0.01
#: Of the fixed part only that counts which is known: half a standard error less than was fitted.
#: On shared cores every batch takes another time; their noise must not pass for a reason to batch.
DOUBT = 0.5
#: No batch counts as faster: clocks are coarse (seconds).
CLOCK_TICK_S = 1e-6


@dataclass(frozen=True, slots=True)
class BatchCost:
    """A line: seconds that any batch costs, and seconds that each scan adds. Neither below 0."""

    fixed_s: float
    per_scan_s: float

    def seconds(self, size: float) -> float:
        """Return what a batch of ``size`` scans costs."""
        return self.fixed_s + self.per_scan_s * size


class CostLearner:
    """Exponentially weighted least squares over the batches seen, for one model.

    A single batch that took unlike long (a page fault, a throttled chip) moves the line by a
    fiftieth; a lasting change is followed within some fifty batches.

    Args:
        pool: Batches that are taken together, as their mean. Of batches in hand at once none has
            just its share of the machine, and larger ones with more threads have more: what one is
            charged too little another is charged too much. Their sum is right.
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
        """The line as known now; None before the first batch."""
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
        # Along the line through the batches' mean, the prior is the steeper the larger they are.
        prior = self._prior_spread / (1 + self._sizes / self._weight) ** 2
        weight, cross = self._weight + prior, self._sizes - prior
        squares = self._squares + prior
        determinant = weight * squares - cross * cross  # positive: sizes are 1 at least
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
        """Return the weighted sum of how far off such a line is, squared."""
        cross = self._products - fixed_s * self._sizes
        return max(
            0.0,
            self._seconds_squared
            - 2 * fixed_s * self._seconds
            + fixed_s**2 * self._weight
            - per_scan_s * (2 * cross - per_scan_s * self._squares),
        )
