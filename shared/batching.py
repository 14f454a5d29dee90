"""Pure policy: how many scans go together, and how long the first of them may wait for company.

A bigger batch spreads a pass's fixed cost over more scans, and has each of them wait for all the
others. Which of the two weighs more depends on what a batch costs, how many scans wait and how
fast more come; all three are learnt as the worker runs.

With ``q`` scans waiting and ``rate`` more a second, a worker that goes on with batches of ``k``
works at ``k / seconds(k)`` and empties the queue at ``drain(k) = k / seconds(k) - rate``. Seen as
a fluid, all scans together then wait ``(q**2 + q * k) / (2 * drain(k))`` seconds. The least of it
over ``k`` is the size to draw. Held against the exact optimum of the Markov decision process, its
mean latency is within one per cent (sizes up to 8, Poisson arrivals, loads of 0.2 to 0.9).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from shared.batch_cost import BatchCost, CostLearner

#: Passes of one scan over which the rate of arrivals is averaged.
RATE_PASSES = 50
#: The rate counts as at most this share of what the largest batches achieve. An estimate above it
#: is as likely to be noise, and under a true overload the queue's length speaks for itself.
FULL_LOAD = 0.95
#: No queue is as long as this.
NEVER = 1e9
#: What is held of a model's cost before its first batch.
UNKNOWN = BatchCost(1.0, 1.0)


@dataclass(frozen=True, slots=True)
class BatchBounds:
    """What the operator allows: ``max_size`` scans, ``max_latency_s`` from the first draw on.

    Without ``adaptive`` a batch always gathers up to ``max_size`` within ``max_latency_s``.
    """

    max_size: int
    max_latency_s: float
    adaptive: bool


def ladder(cost: BatchCost, rate: float, max_size: int) -> list[int]:
    """Return the length of the queue from which on each size is drawn: entry 0 is for size 1.

    Every entry is the larger, so the first that the queue does not reach ends the climb. Sizes that
    never pay are left out.

    Args:
        cost: What a batch costs.
        rate: Scans that come in a second, for this worker to serve.
        max_size: The largest size there may be.

    """
    steps = [1]
    rate = min(rate, FULL_LOAD * max_size / cost.seconds(max_size))
    drain = 1 / cost.seconds(1) - rate
    for size in range(1, max_size):
        larger = (size + 1) / cost.seconds(size + 1) - rate
        if larger <= drain:
            break
        needed = size + 1
        if drain > 0:
            # (q + size) / drain > (q + size + 1) / larger, solved for the queue's length q
            pays_from = ((size + 1) * drain - size * larger) / (larger - drain)
            if pays_from > NEVER:
                break
            needed = max(needed, math.floor(pays_from) + 1)
        steps.append(max(needed, steps[-1]))
        drain = larger
    return steps


def climb(steps: Sequence[int], queued: int) -> int:
    """Return the size to draw from ``queued`` scans, at least 1."""
    size = 1
    while size < len(steps) and steps[size] <= queued:
        size += 1
    return size


def worth_waiting(cost: BatchCost, rate: float, size: int) -> bool:
    """Tell whether ``size`` scans in hand and an empty queue should wait for one more.

    Each of them and the one to come lose the gap until it comes; it saves a pass of its own. (The
    exact optimum waits in nearly the same states, and gains less than one per cent by it: waiting
    pays where scans come much faster than passes begin.)
    """
    return size + 1 < rate * cost.fixed_s


class ArrivalRate:
    """Scans a second, as an exponentially weighted mean over ``window_s`` seconds."""

    def __init__(self) -> None:
        self.window_s = 1.0
        self._at_s: float | None = None
        self._total = 0
        self._count = self._span_s = 0.0

    @property
    def per_s(self) -> float:
        """The rate; 0 before anything is known."""
        return self._count / self._span_s if self._span_s > 0 else 0.0

    def update(self, total: int, now_s: float) -> None:
        """Take in that ``total`` scans have come in all by the time ``now_s``."""
        if self._at_s is not None and now_s > self._at_s:
            fading = math.exp((self._at_s - now_s) / self.window_s)
            self._count = self._count * fading + max(0, total - self._total)
            self._span_s = self._span_s * fading + self.window_s * (1 - fading)
        if self._at_s is None or now_s > self._at_s:
            self._at_s, self._total = now_s, total


class BatchPlanner:
    """Learns what batches cost and how fast scans come; says how many to draw and when to wait."""

    def __init__(self, bounds: BatchBounds) -> None:
        self.bounds = bounds
        self._costs: dict[str, CostLearner] = {}
        self._rate = ArrivalRate()
        self._workers = 1

    def cost(self, model: str) -> BatchCost | None:
        """Return what is known of a model's batches."""
        learner = self._costs.get(model)
        return learner.cost if learner else None

    def observe(self, model: str, size: int, seconds: float) -> None:
        """Learn that a batch of ``size`` scans took ``seconds``."""
        learner = self._costs.setdefault(model, CostLearner())
        learner.observe(size, seconds)
        if learner.cost is not None:
            self._rate.window_s = max(1e-6, RATE_PASSES * learner.cost.seconds(1))

    def saw(self, *, arrived: int, workers: int, now_s: float) -> None:
        """Take in the queue: scans that ``arrived`` since it began, and live ``workers``."""
        self._rate.update(arrived, now_s)
        self._workers = max(1, workers)

    def steps(self, model: str) -> list[int]:
        """Return the :func:`ladder` to draw by; the queue's length is per live worker."""
        bounds = self.bounds
        if not bounds.adaptive:
            return [1] * bounds.max_size
        cost = self.cost(model)
        if cost is None:
            return ladder(UNKNOWN, 0.0, bounds.max_size)
        return ladder(cost, self._share(), bounds.max_size)

    def wants_more(self, model: str, *, size: int, left: int, waited_s: float) -> bool:
        """Tell whether ``size`` scans, with ``left`` still queued, should wait for company."""
        bounds = self.bounds
        if not 0 < size < bounds.max_size or waited_s >= bounds.max_latency_s:
            return False
        if not bounds.adaptive:
            return True
        cost = self.cost(model)
        return left == 0 and cost is not None and worth_waiting(cost, self._share(), size)

    def _share(self) -> float:
        return self._rate.per_s / self._workers
