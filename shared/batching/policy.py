"""Pure policy: how many scans go together, and how long the first of them may wait for company.

A bigger batch spreads a pass's fixed cost over more scans, and has each of them wait for all the
others. Which of the two weighs more depends on what a batch costs, how many scans wait and how
fast more come; all three are learnt as the worker runs.

With ``q`` scans waiting and ``rate`` more a second, both for each worker, one that goes on with
batches of ``k`` empties its part of the queue at ``drain(k) = k / seconds(k) - rate``. Seen as a
fluid, all scans together then wait ``(q**2 + q * k) / (2 * drain(k))`` seconds. The least of it
over ``k`` is the size to draw. Held against the exact optimum of the Markov decision process, its
mean latency is within one per cent (one worker, sizes up to 8, Poisson arrivals, loads of 0.2 to
0.9, all known beforehand).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from shared.batching.cost_model import DECAY, BatchCost, CostLearner

#: Passes of one scan over which the rate of arrivals is averaged.
RATE_PASSES = 50
#: The rate counts as at most this share of what the largest batches achieve. An estimate above it
#: is as likely to be noise, and under a true overload the queue's length speaks for itself.
FULL_LOAD = 0.95
#: No queue is as long as this.
NEVER = 1e9
#: From so many batches in hand on, in the mean, a batch counts as one in company: nearly always.
COMPANY = 1.9
#: Batches in company are taken together by so many: most that overlap are then in one pool.
POOL = 8
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


def ladder(cost: BatchCost, rate: float, max_size: int, workers: int = 1) -> list[int]:
    """Return the length of the queue from which on each size is drawn: entry 0 is for size 1.

    Every entry is the larger, so the first that the queue does not reach ends the climb. Sizes that
    never pay are left out.

    Args:
        cost: What a batch costs.
        rate: Scans that come in a second, for each worker to serve.
        max_size: The largest size there may be.
        workers: How many share the queue.

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
            # (q + size) / drain > (q + size + 1) / larger, solved for q
            pays_from = ((size + 1) * drain - size * larger) / (larger - drain)
            if pays_from > NEVER:
                break
            needed = max(needed, math.floor(pays_from * workers) + 1)
        steps.append(max(needed, steps[-1]))
        drain = larger
    return steps


def climb(steps: Sequence[int], queued: int, *, idle: int = 1) -> int:
    """Return the size to draw from ``queued`` scans, at least 1.

    ``idle`` workers and lanes, the one that draws among them, are left their share. The queue's own
    script climbs in the same way, for it alone knows the queue at the moment of a draw.
    """
    size, share = 1, -(-queued // idle)
    while size < min(share, len(steps)) and steps[size] <= queued:
        size += 1
    return size


def worth_waiting(cost: BatchCost, rate: float, size: int) -> bool:
    """Tell whether ``size`` scans in hand and an empty queue should wait for one more.

    Each of them and the one to come lose the time until it comes, ``1 / rate`` seconds as it looks;
    the one to come saves the fixed cost of a pass. (Where scans come independently, the exact
    optimum waits in nearly the same states and gains less than one per cent by it; in series of
    submits much more is gained.)
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


class FollowUps:
    """How soon a scan follows another, looking no further than ``horizon_s``.

    Scans that follow within the horizon, divided by the time spent looking: the hazard that a
    batch in hand would bet on. For independent arrivals it is their rate; for series of submits it
    is the rate within a series; for even ones that are further apart it is none.
    """

    def __init__(self, horizon_s: float) -> None:
        self._horizon_s = horizon_s
        self._followed = self._looked_s = 0.0
        #: When the last scan came; long ago before the first.
        self.newest_s = -math.inf

    @property
    def per_s(self) -> float:
        """The rate of followers; 0 before two scans came."""
        return self._followed / max(self._looked_s, 1e-9)

    def came(self, at_s: float) -> None:
        """Take in that a scan came; those that came before the newest known tell nothing."""
        if at_s < self.newest_s:
            return
        if self.newest_s > -math.inf:
            gap_s = at_s - self.newest_s
            self._followed = self._followed * DECAY + (gap_s <= self._horizon_s)
            self._looked_s = self._looked_s * DECAY + min(gap_s, self._horizon_s)
        self.newest_s = at_s


class BatchPlanner:
    """Learns what batches cost and how fast scans come; says how many to draw and when to wait."""

    def __init__(self, bounds: BatchBounds) -> None:
        self.bounds = bounds
        self._costs: dict[tuple[str, bool], CostLearner] = {}
        self._rate = ArrivalRate()
        self._follow_ups = FollowUps(bounds.max_latency_s)
        self._workers = self._idle = 1
        self._now_s = 0.0

    def cost(self, model: str) -> BatchCost | None:
        """Return what is known of a model's batches: in company, else of those that were alone.

        A lone batch has cores or a device for itself that it cannot use as well as several do. As
        lone ones are mostly single scans, that would pass for a pass's fixed cost; and sizes matter
        where there is company.
        """
        for company in (True, False):
            learner = self._costs.get((model, company))
            if learner is not None and learner.cost is not None:
                return learner.cost
        return None

    def observe(self, model: str, size: int, seconds: float, concurrency: float = 1.0) -> None:
        """Learn that a batch of ``size`` scans took ``seconds`` of its worker.

        ``concurrency`` is how many batches the worker had in hand meanwhile, in the mean.
        """
        company = concurrency >= COMPANY
        learner = self._costs.setdefault((model, company), CostLearner(POOL if company else 1))
        learner.observe(size, seconds)
        if learner.cost is not None:
            self._rate.window_s = max(1e-6, RATE_PASSES * learner.cost.seconds(1))

    def saw(
        self,
        *,
        arrived: int,
        workers: int,
        now_s: float,
        idle: int = 1,
        ages_s: Sequence[float] = (),
    ) -> None:
        """Take in what a draw saw of the queue.

        Args:
            arrived: Scans that came since the queue began.
            workers: Those alive.
            now_s: When it was, on any clock that only goes forward.
            idle: Workers without anything to do, the one that drew among them, and the other lanes
                of that one that have nothing to compute.
            ages_s: How long before that each scan just drawn had come, in the order of service.

        """
        for age_s in ages_s:
            self.came(now_s - age_s)
        self._rate.update(arrived, now_s)
        self._now_s = now_s
        self._workers, self._idle = max(1, workers), idle

    def came(self, at_s: float) -> None:
        """Take in when a scan came, on the clock of :meth:`saw`."""
        self._follow_ups.came(at_s)

    def steps(self, model: str) -> list[int]:
        """Return the :func:`ladder` to draw by; empty to draw whatever is there."""
        bounds = self.bounds
        if not bounds.adaptive:
            return []
        cost = self.cost(model)
        if cost is None:
            return ladder(UNKNOWN, 0.0, bounds.max_size, self._workers)
        return ladder(cost, self._share(), bounds.max_size, self._workers)

    def ladders(self) -> dict[str, list[int]]:
        """Return the ladder of each model whose batches are known, and under "" that of others.

        Nothing is known of a job's model before it is drawn, so a draw takes them all along.
        """
        if not self.bounds.adaptive:
            return {}
        return {model: self.steps(model) for model in ("", *(model for model, _ in self._costs))}

    def wants_more(self, model: str, *, size: int, left: int, waited_s: float) -> bool:
        """Tell whether ``size`` scans, with ``left`` still queued, should wait for company."""
        bounds = self.bounds
        if not 0 < size < bounds.max_size or waited_s >= bounds.max_latency_s:
            return False
        if not bounds.adaptive:
            return True
        if left > 0 or self._idle > 1:  # whoever comes would be served at once by another
            return False
        if self._now_s - self._follow_ups.newest_s >= bounds.max_latency_s:
            return False
        cost = self.cost(model)
        return cost is not None and worth_waiting(cost, self._follow_ups.per_s, size)

    def _share(self) -> float:
        return self._rate.per_s / self._workers
