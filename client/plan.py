"""Capacity before buying: how many workers a load needs, and what to expect of them.

Every number comes from simulating the service's own batching policy (:mod:`shared.simulation`) on
a measured cost. The same scans have the same luck whatever the load and the number of workers, so
that plans differ by what was asked and not by chance.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from client.plan_cost import MeasuredCost, counted
from shared.arrivals import HOUR_S, peak_share, peaked_arrivals
from shared.simulation import Adaptive, Outage, Outcome, simulate

#: Simulated of each number of workers: as many scans, or as many hours, if nobody asks for others.
LEAST_SCANS, USUAL_HOURS, MANY_SCANS = 20_000, 3, 200_000
#: Scans for each worker, or the start would count for too much.
_SCANS_A_WORKER = 50
#: The part of a run that is left out, in which the policy learns and queues fill.
_WARM_SHARE = 0.05
#: More workers than this many times the least are not looked at.
_MOST_FACTOR, _MOST_ABOVE = 32, 64
#: A machine that dies is missed after its lease.
LEASE_S = 15.0
#: A failure is simulated this often at most, until so many scans came while it lasted.
_MOST_FAILURES, _FAILURE_SCANS = 20, 300
#: Waits are back to what they were when a window's mean is at most this many times the usual one.
_RECOVERED = 1.25
_WINDOW_SCANS = 50
_SEED = 7


class OutOfReach(Exception):
    """A goal that no number of workers reaches; ``str`` is a sentence for a person."""


@dataclass(frozen=True)
class Demand:
    """The load, and the goal: ``percentile`` per cent of the scans answered ``within_s``.

    ``burst`` is how many times the mean comes in the busy stretch of each hour.
    """

    scans_per_hour: float
    within_s: float
    percentile: float = 95.0
    burst: float = 1.0

    @property
    def rate(self) -> float:
        """Scans a second."""
        return self.scans_per_hour / HOUR_S


@dataclass(frozen=True)
class Spread:
    """Seconds: the mean and two percentiles."""

    mean: float
    p95: float
    p99: float

    @classmethod
    def of(cls, seconds: NDArray[np.float64]) -> "Spread":
        """Return the spread of ``seconds``."""
        p95, p99 = np.percentile(seconds, (95, 99))
        return cls(float(seconds.mean()), float(p95), float(p99))


@dataclass(frozen=True)
class Forecast:
    """What so many workers make of a load.

    ``utilisation`` is the load's share of what they can do at most; ``wait_s`` lasts until a
    worker takes the scan in hand, ``answer_s`` is what a client sees, and ``goal_s`` the goal's
    percentile of it.
    """

    workers: int
    utilisation: float
    wait_s: Spread
    answer_s: Spread
    goal_s: float
    reached: bool
    batch_size: float


@dataclass(frozen=True)
class Failure:
    """What the failure of one does.

    ``left`` is what the others make of the load, None where they cannot keep up: then
    ``backlog_per_hour`` scans more wait with every hour. ``answer_s`` is of the scans that came
    while it was away for ``lasts_s``, ``late_share`` how many of them missed the goal, and
    ``caught_up_s`` how long after its return all is as before; None: it takes an hour or more (of a
    large load, as long again as the failure).
    """

    lasts_s: float
    left: Forecast | None
    backlog_per_hour: float
    answer_s: Spread
    late_share: float
    caught_up_s: float | None


@dataclass(frozen=True)
class Plan:
    """The answer: ``needed`` of the ``forecasts``, and what a failure does to it."""

    demand: Demand
    needed: Forecast
    forecasts: list[Forecast]
    failure: Failure
    scans: int


def make_plan(
    measured: MeasuredCost,
    demand: Demand,
    *,
    workers: int | None = None,
    scans: int | None = None,
    outage_s: float = 600.0,
    on_look: Callable[[int], None] = lambda workers: None,
) -> Plan:
    """Return how many workers are needed, or what ``workers`` make of the load.

    Args:
        measured: What one worker does.
        demand: The load and the goal.
        workers: So many, whatever the goal; None: as few as reach it.
        scans: How many to simulate for each number of workers; None: as many as it takes.
        outage_s: How long a worker is away that fails.
        on_look: Told every number of workers that is looked at.

    Raises:
        OutOfReach: No number of workers reaches the goal, or ``workers`` cannot bear the load.
    """
    looked: dict[int, Forecast] = {}

    def look(count: int) -> Forecast:
        if count not in looked:
            on_look(count)
            looked[count] = forecast(measured, demand, workers=count, scans=scans)
        return looked[count]

    if workers is None:
        needed = _fewest(measured, demand, look)
        look(needed.workers + 1)
    elif workers >= least_workers(measured, demand):
        needed = look(workers)
    else:
        raise OutOfReach(
            f"{counted(workers, measured.unit)} can do {workers * measured.scans_per_s:.3g} scans "
            f"a second, and {demand.rate:.3g} come: the queue would grow without end."
        )
    failure = _failure(measured, demand, needed, look, outage_s)
    forecasts = [looked[count] for count in sorted(looked)]
    return Plan(demand, needed, forecasts, failure, scans_for(demand, needed.workers, scans))


def least_workers(measured: MeasuredCost, demand: Demand) -> int:
    """Return the fewest workers that do not fall behind for good."""
    return math.floor(demand.rate / measured.scans_per_s) + 1


def forecast(
    measured: MeasuredCost, demand: Demand, *, workers: int, scans: int | None = None
) -> Forecast:
    """Return what ``workers`` make of a load, at least :func:`least_workers`."""
    run = _run(measured, demand, workers, scans_for(demand, workers, scans))
    warm = int(len(run.came_s) * _WARM_SHARE)
    answers_s = run.latencies_s[warm:] + measured.outside_s
    goal_s = float(np.percentile(answers_s, demand.percentile))
    return Forecast(
        workers=workers,
        utilisation=demand.rate / (workers * measured.scans_per_s),
        wait_s=Spread.of(run.waits_s[warm:]),
        answer_s=Spread.of(answers_s),
        goal_s=goal_s,
        reached=goal_s <= demand.within_s * (1 + 1e-9),
        batch_size=float(run.sizes.mean()),
    )


def scans_for(demand: Demand, workers: int, scans: int | None) -> int:
    """Return how many scans to simulate: ``scans`` if given, else enough to tell percentiles."""
    if scans is not None:
        return scans
    enough = max(LEAST_SCANS, _SCANS_A_WORKER * workers)
    if demand.burst == 1:
        return enough
    hours = math.ceil(USUAL_HOURS * demand.scans_per_hour)
    # of a large load one hour tells as much, with what follows its busy stretch
    return max(enough, min(hours, max(MANY_SCANS, math.ceil(1.2 * demand.scans_per_hour))))


def _run(
    measured: MeasuredCost,
    demand: Demand,
    workers: int,
    scans: int,
    outage: Outage | None = None,
    seed: int = _SEED,
) -> Outcome:
    return simulate(
        Adaptive(measured.max_batch, measured.max_latency_s),
        measured.cost,
        peaked_arrivals(demand.rate, factor=demand.burst, seed=seed),
        scans=scans,
        workers=workers,
        lanes=measured.lanes,
        noise=measured.noise,
        seed=seed,
        outage=outage,
    )


def _fewest(measured: MeasuredCost, demand: Demand, look: Callable[[int], Forecast]) -> Forecast:
    """Go up in growing steps until the goal is reached, then halve the last step."""
    alone_s = measured.alone_s(NormalDist().inv_cdf(demand.percentile / 100))
    if demand.within_s < alone_s:
        raise OutOfReach(
            f"A scan that nothing delays takes {alone_s:.3g} s at the {demand.percentile:g}th "
            f"percentile, so no number of {measured.unit}s answers within {demand.within_s:g} s."
        )
    least = least_workers(measured, demand)
    below, count, step = least - 1, least, 1
    while not look(count).reached:
        if count > _MOST_FACTOR * least + _MOST_ABOVE:
            raise OutOfReach(
                f"{counted(count, measured.unit)} answer within {look(count).goal_s:.3g} s at the "
                f"{demand.percentile:g}th percentile, and more bring no less than that: "
                f"{demand.within_s:g} s is too close to what a scan takes alone."
            )
        below, count, step = count, count + step, 2 * step
    while count - below > 1:
        middle = (below + count) // 2
        if look(middle).reached:
            count = middle
        else:
            below = middle
    return look(count)


def _failure(
    measured: MeasuredCost,
    demand: Demand,
    needed: Forecast,
    look: Callable[[int], Forecast],
    lasts_s: float,
) -> Failure:
    left = needed.workers - 1
    bearable = left >= least_workers(measured, demand)
    answers: list[NDArray[np.float64]] = []
    caught_up: list[float | None] = []
    for came_s, answers_s, back_s in _failures(measured, demand, needed.workers, lasts_s):
        answers.append(answers_s[(came_s >= back_s - lasts_s) & (came_s < back_s)])
        caught_up.append(_caught_up_s(came_s, answers_s, back_s, needed.answer_s.mean))
    hit = np.concatenate(answers)
    return Failure(
        lasts_s=lasts_s,
        left=look(left) if bearable else None,
        backlog_per_hour=0.0 if bearable else HOUR_S * (demand.rate - left * measured.scans_per_s),
        answer_s=Spread.of(hit),
        late_share=float(np.mean(hit > demand.within_s)),
        caught_up_s=None
        if None in caught_up
        else float(np.mean([one or 0.0 for one in caught_up])),
    )


def _failures(
    measured: MeasuredCost, demand: Demand, workers: int, lasts_s: float
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], float]]:
    """Yield runs in which one fails as the busy stretch begins, until enough scans were hit.

    Of each: when scans came, how long they took, and when the worker was back.
    """
    at_s = HOUR_S * (1 - peak_share(demand.burst))
    if demand.burst == 1:
        at_s = min(at_s, LEAST_SCANS / demand.rate)
    back_s = at_s + lasts_s
    many = HOUR_S * demand.rate > MANY_SCANS
    after_s = lasts_s if many else HOUR_S
    scans = math.ceil((back_s + after_s) * demand.rate) + _WINDOW_SCANS
    hit = 0
    for seed in range(_SEED, _SEED + _MOST_FAILURES):
        outage = Outage(at_s, lasts_s, LEASE_S)
        run = _run(measured, demand, workers, scans, outage, seed)
        found = int(((run.came_s >= at_s) & (run.came_s < back_s)).sum())
        if found:
            yield run.came_s, run.latencies_s + measured.outside_s, back_s
        hit += found
        if hit >= _FAILURE_SCANS:
            return


def _mean_of_all(seconds: Sequence[float | None]) -> float | None:
    """Return the mean; None if one is not known."""
    known = [one for one in seconds if one is not None]
    return float(np.mean(known)) if known and len(known) == len(seconds) else None


def _caught_up_s(
    came_s: NDArray[np.float64], answers_s: NDArray[np.float64], back_s: float, usual_s: float
) -> float | None:
    """Return how long after its return scans take no more than usual, in windows of some scans."""
    after = np.flatnonzero(came_s >= back_s)
    for start in range(0, len(after) - _WINDOW_SCANS + 1, _WINDOW_SCANS):
        window = after[start : start + _WINDOW_SCANS]
        if answers_s[window].mean() <= _RECOVERED * usual_s:
            return max(0.0, float(came_s[window[0]]) - back_s)
    return None
