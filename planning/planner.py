"""Capacity before buying: how many workers a load needs, and what to expect of them."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

from planning.cost import MeasuredCost, counted
from planning.failure import Failure, fail_one
from planning.forecast import (
    LEAST_SCANS,
    Demand,
    Forecast,
    forecast,
    least_workers,
    scans_for,
)

#: More workers than this many times the least are not looked at.
_MOST_FACTOR, _MOST_ABOVE = 32, 64


class OutOfReach(Exception):
    """A goal that no number of workers reaches; ``str`` is a sentence for a person."""


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
    failure = fail_one(
        measured, demand, needed, look, outage_s, min(scans or LEAST_SCANS, LEAST_SCANS)
    )
    forecasts = [looked[count] for count in sorted(looked)]
    return Plan(demand, needed, forecasts, failure, scans_for(demand, needed.workers, scans))


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
