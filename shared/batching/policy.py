"""Pure policy: how many scans share a batch, and how long a batch waits for more scans.

A bigger batch spreads a pass's fixed cost over more scans, but each of them waits for all the
others. Which of the two weighs more depends on what a batch costs, how many scans are queued and
how fast more arrive; all three are learnt as the worker runs.

With ``q`` scans queued and ``rate`` more a second, both per worker, a worker that computes batches
of ``k`` empties its part of the queue at ``drain(k) = k / seconds(k) - rate``. If the queue is
treated as a fluid, all scans together then wait ``(q**2 + q * k) / (2 * drain(k))`` seconds. The
batch size is the ``k`` that minimises it. Compared with the exact optimum of the Markov decision
process, its mean latency is within one per cent (one worker, sizes up to 8, Poisson arrivals,
loads of 0.2 to 0.9, all known beforehand).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from shared.batching.cost_model import DECAY, BatchCost, CostLearner

#: Passes of one scan over which the rate of arrivals is averaged.
RATE_PASSES = 50
#: The rate counts as at most this share of what the largest batches achieve. An estimate above it
#: is as likely to be noise, and under a true overload the queue is long anyway.
FULL_LOAD = 0.95
#: Longer than any queue.
NEVER = 1e9
#: A batch counts as concurrent if its worker computed at least this many batches at a time, in the
#: mean over its duration: nearly always more than one.
CONCURRENT = 1.9
#: Concurrent batches are learnt from as means of this many, so that most that overlap share a mean.
POOL = 8
#: The assumed cost of a model's batches before the first one.
UNKNOWN = BatchCost(1.0, 1.0)


@dataclass(frozen=True, slots=True)
class BatchBounds:
    """What the operator allows: ``max_size`` scans, ``max_latency_s`` from the first draw on.

    Without ``adaptive`` a batch always gathers up to ``max_size`` within ``max_latency_s``.
    """

    max_size: int
    max_latency_s: float
    adaptive: bool


def size_thresholds(cost: BatchCost, rate: float, max_size: int, workers: int = 1) -> list[int]:
    """Return how many scans must be queued for a batch of 1, 2, 3... scans.

    Entries never fall, so the first that the queue does not reach ends the search. Sizes that never
    pay are left out.

    Args:
        cost: What a batch costs.
        rate: Scans that arrive a second, for each worker to compute.
        max_size: The largest size there may be.
        workers: How many share the queue.

    """
    thresholds = [1]
    if cost.fixed_s == 0:
        return thresholds
    rate = min(rate, FULL_LOAD * max_size / cost.seconds(max_size))
    seconds = cost.seconds(1)
    for size in range(1, max_size):
        # size + 1 pays where (q + size) / drain(size) > (q + size + 1) / drain(size + 1); for q:
        larger_s = seconds + cost.per_scan_s
        difference = size * (size + 1) * cost.per_scan_s - rate * seconds * larger_s
        pays_from = difference / cost.fixed_s
        if pays_from > NEVER:
            break
        thresholds.append(max(size + 1, math.floor(pays_from * workers) + 1, thresholds[-1]))
        seconds = larger_s
    return thresholds


def batch_size(thresholds: Sequence[int], queued: int, *, idle: int = 1) -> int:
    """Return how many of ``queued`` scans to draw, at least 1.

    ``idle`` workers and lanes, including the one that draws, are left their share. ``draw.lua``
    applies the same rule, because only the script knows the queue at the moment of a draw.
    """
    size, share = 1, -(-queued // idle)
    while size < min(share, len(thresholds)) and thresholds[size] <= queued:
        size += 1
    return size


def worth_waiting(cost: BatchCost, rate: float, size: int) -> bool:
    """Tell whether ``size`` drawn scans and an empty queue should wait for one more.

    Each of them and the next scan lose the time until it arrives, about ``1 / rate`` seconds; the
    next scan saves the fixed cost of a pass. (Where scans arrive independently, the exact optimum
    waits in nearly the same states and gains less than one per cent by it; in series of submits
    much more is gained.)
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
        """Learn that ``total`` scans had arrived by the time ``now_s``."""
        if self._at_s is not None and now_s > self._at_s:
            fading = math.exp((self._at_s - now_s) / self.window_s)
            self._count = self._count * fading + max(0, total - self._total)
            self._span_s = self._span_s * fading + self.window_s * (1 - fading)
        if self._at_s is None or now_s > self._at_s:
            self._at_s, self._total = now_s, total


class FollowUps:
    """How soon one scan follows another, within ``horizon_s``.

    It is the number of scans that followed within the horizon, divided by the time in which one
    was awaited: the hazard rate that a waiting batch relies on. For independent arrivals it is
    their rate; for series of submits it is the rate within a series; for even ones that are further
    apart than the horizon it is 0.
    """

    def __init__(self, horizon_s: float) -> None:
        self._horizon_s = horizon_s
        self._followed = self._awaited_s = 0.0
        #: When the last scan arrived; long ago before the first.
        self.newest_s = -math.inf

    @property
    def per_s(self) -> float:
        """The rate of followers; 0 before two scans arrived."""
        return self._followed / max(self._awaited_s, 1e-9)

    def observe_arrival(self, at_s: float) -> None:
        """Learn that a scan arrived; one that arrived before the newest known is ignored."""
        if at_s < self.newest_s:
            return
        if self.newest_s > -math.inf:
            gap_s = at_s - self.newest_s
            self._followed = self._followed * DECAY + (gap_s <= self._horizon_s)
            self._awaited_s = self._awaited_s * DECAY + min(gap_s, self._horizon_s)
        self.newest_s = at_s


class BatchPlanner:
    """Learns what batches cost and how fast scans arrive; decides batch sizes and waits."""

    def __init__(self, bounds: BatchBounds) -> None:
        self.bounds = bounds
        self._costs: dict[tuple[str, bool], CostLearner] = {}
        self._rate = ArrivalRate()
        self._follow_ups = FollowUps(bounds.max_latency_s)
        self._workers = self._idle = 1
        self._now_s = 0.0

    def cost(self, model: str) -> BatchCost | None:
        """Return what a model's batches cost: the concurrent ones, else those that ran alone.

        A batch that runs alone has all cores or the device, which it cannot use as well as several
        batches do. Most such batches are single scans, so their extra time would look like the
        fixed cost of a pass; and batch sizes matter only where several batches run.
        """
        for concurrent in (True, False):
            learner = self._costs.get((model, concurrent))
            if learner is not None and learner.cost is not None:
                return learner.cost
        return None

    def observe_batch(
        self, model: str, size: int, seconds: float, concurrency: float = 1.0
    ) -> None:
        """Learn that a batch of ``size`` scans took ``seconds`` of its worker.

        ``concurrency`` is how many batches the worker computed meanwhile, in the mean.
        """
        concurrent = concurrency >= CONCURRENT
        learner = self._costs.setdefault(
            (model, concurrent), CostLearner(POOL if concurrent else 1)
        )
        learner.observe(size, seconds)
        if learner.cost is not None:
            self._rate.window_s = max(1e-6, RATE_PASSES * learner.cost.seconds(1))

    def observe_queue(
        self,
        *,
        arrived: int,
        workers: int,
        now_s: float,
        idle: int = 1,
        ages_s: Sequence[float] = (),
    ) -> None:
        """Learn from the state of the queue at a draw.

        Args:
            arrived: Scans that arrived since the queue began.
            workers: Live workers.
            now_s: The time of the draw, on any monotonic clock.
            idle: Workers without a job, including the one that drew, and the other lanes of that
                one that have nothing to compute.
            ages_s: How long before the draw each drawn scan had arrived, in the order of service.

        """
        for age_s in ages_s:
            self.observe_arrival(now_s - age_s)
        self._rate.update(arrived, now_s)
        self._now_s = now_s
        self._workers, self._idle = max(1, workers), idle

    def observe_arrival(self, at_s: float) -> None:
        """Learn when a scan arrived, on the clock of :meth:`observe_queue`."""
        self._follow_ups.observe_arrival(at_s)

    def thresholds(self, model: str) -> list[int]:
        """Return a model's :func:`size_thresholds`; empty to draw all that is queued."""
        bounds = self.bounds
        if not bounds.adaptive:
            return []
        cost = self.cost(model)
        if cost is None:
            return size_thresholds(UNKNOWN, 0.0, bounds.max_size, self._workers)
        rate = self._rate.per_s / self._workers
        return size_thresholds(cost, rate, bounds.max_size, self._workers)

    def all_thresholds(self) -> dict[str, list[int]]:
        """Return the thresholds of each model with a known cost, and under "" those of others.

        The model of the next job is unknown before the draw, so a draw is given all of them.
        """
        if not self.bounds.adaptive:
            return {}
        models = ("", *(model for model, _ in self._costs))
        return {model: self.thresholds(model) for model in models}

    def wants_more(self, model: str, *, size: int, left: int, waited_s: float) -> bool:
        """Tell whether ``size`` drawn scans should wait for more; ``left`` are still queued."""
        bounds = self.bounds
        if not 0 < size < bounds.max_size or waited_s >= bounds.max_latency_s:
            return False
        if not bounds.adaptive:
            return True
        if left > 0 or self._idle > 1:  # an idle worker would take the next scan at once
            return False
        if self._now_s - self._follow_ups.newest_s >= bounds.max_latency_s:
            return False
        cost = self.cost(model)
        return cost is not None and worth_waiting(cost, self._follow_ups.per_s, size)
