"""How many workers a load needs, and what to expect of them."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

from planning.cost import MeasuredCost, pluralize
from planning.failure import LEASE_S, Failure, forecast_failure
from planning.forecast import (
    LEAST_SCANS,
    Demand,
    Forecast,
    forecast,
    least_workers,
    scans_for,
)

#: The search stops above ``_MOST_FACTOR * least + _MOST_ABOVE`` workers, where ``least`` is the
#: fewest that keep up with the load.
_MOST_FACTOR = 32
_MOST_ABOVE = 64


class GoalOutOfReach(Exception):
    """No number of workers reaches the goal; ``str`` is a sentence for the user."""


@dataclass(frozen=True)
class Plan:
    """A plan: which of the ``forecasts`` is ``needed``, and the effect of a failure."""

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
    lease_s: float = LEASE_S,
    on_forecast: Callable[[int], None] = lambda workers: None,
) -> Plan:
    """Return how many workers are needed, or how ``workers`` handle the load.

    Args:
        measured: How fast one worker is.
        demand: The load and the goal.
        workers: How many to plan with; None: as few as reach the goal.
        scans: How many to simulate for each number of workers; None: enough for the percentiles.
        outage_s: How long a worker that fails is away.
        lease_s: How long after a worker's failure its scans go back to the queue.
        on_forecast: Called with every number of workers that is simulated.

    Raises:
        GoalOutOfReach: No number of workers reaches the goal, or ``workers`` cannot keep up.
    """
    forecasts_by_count: dict[int, Forecast] = {}

    def forecast_for(count: int) -> Forecast:
        if count not in forecasts_by_count:
            on_forecast(count)
            forecasts_by_count[count] = forecast(measured, demand, workers=count, scans=scans)
        return forecasts_by_count[count]

    if workers is None:
        needed = _fewest_workers(measured, demand, forecast_for)
        forecast_for(needed.workers + 1)
    elif workers >= least_workers(measured, demand):
        needed = forecast_for(workers)
    else:
        raise GoalOutOfReach(
            f"{pluralize(workers, measured.unit)} can do {workers * measured.scans_per_s:.3g} "
            f"scans a second, and {demand.rate:.3g} come: the queue would grow without end."
        )
    failure_scans = min(scans or LEAST_SCANS, LEAST_SCANS)
    failure = forecast_failure(
        measured, demand, needed, forecast_for, outage_s, failure_scans, lease_s
    )
    forecasts = [forecasts_by_count[count] for count in sorted(forecasts_by_count)]
    return Plan(demand, needed, forecasts, failure, scans_for(demand, needed.workers, scans))


def _fewest_workers(
    measured: MeasuredCost, demand: Demand, forecast_for: Callable[[int], Forecast]
) -> Forecast:
    """Add workers in growing steps until the goal is reached, then bisect the last step."""
    alone_s = measured.alone_s(NormalDist().inv_cdf(demand.percentile / 100))
    if demand.within_s < alone_s:
        raise GoalOutOfReach(
            f"A scan that nothing delays takes {alone_s:.3g} s at the {demand.percentile:g}th "
            f"percentile, so no number of {measured.unit}s answers within {demand.within_s:g} s."
        )
    least = least_workers(measured, demand)
    below, count, step = least - 1, least, 1
    while not forecast_for(count).reached:
        if count > _MOST_FACTOR * least + _MOST_ABOVE:
            raise GoalOutOfReach(
                f"{pluralize(count, measured.unit)} answer within "
                f"{forecast_for(count).goal_s:.3g} s at the {demand.percentile:g}th percentile, "
                f"and more {measured.unit}s would not make it faster: {demand.within_s:g} s is too "
                "close to what a scan takes alone."
            )
        below, count, step = count, count + step, 2 * step
    while count - below > 1:
        middle = (below + count) // 2
        if forecast_for(middle).reached:
            count = middle
        else:
            below = middle
    return forecast_for(count)
