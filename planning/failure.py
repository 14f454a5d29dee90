"""The effect of a worker's failure on a load."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planning.arrivals import HOUR_S, peak_share
from planning.cost import MeasuredCost
from planning.forecast import (
    LEAST_SCANS,
    SEED,
    Demand,
    Forecast,
    Spread,
    least_workers,
    run,
)
from planning.simulation import Outage
from shared.settings import Settings

#: The failure of a machine is noticed when its leases expire.
LEASE_S: float = Settings.model_fields["lease_s"].default
#: Runs with a failure, at most, and the number of scans to see during failures.
_MOST_FAILURES, _FAILURE_SCANS = 20, 300
#: Waits have recovered when the mean of a window is at most this many times the usual one.
_RECOVERED = 1.25
_WINDOW_SCANS = 50


@dataclass(frozen=True)
class Failure:
    """The effect of the failure of one worker.

    Args:
        lasts_s: How long the worker is away.
        left: The forecast for the other workers; None if they cannot keep up.
        backlog_per_hour: How many more scans wait after each hour, if they cannot keep up.
        response_s: Response times of the scans that arrived meanwhile; None if hardly any did.
        late_share: The share of those scans that missed the goal.
        caught_up_s: How long after the worker's return waits are as before; None: longer than was
            simulated, at most an hour.
    """

    lasts_s: float
    left: Forecast | None
    backlog_per_hour: float
    response_s: Spread | None
    late_share: float
    caught_up_s: float | None


def forecast_failure(
    measured: MeasuredCost,
    demand: Demand,
    needed: Forecast,
    forecast_for: Callable[[int], Forecast],
    lasts_s: float,
    scans: int = LEAST_SCANS,
) -> Failure:
    """Return the effect if one of the workers ``needed`` fails.

    ``forecast_for`` returns the forecast of another number of workers. At most ``scans`` are
    simulated before and after a failure.
    """
    left = needed.workers - 1
    keeps_up = left >= least_workers(measured, demand)
    answers: list[NDArray[np.float64]] = []
    caught_up: list[float | None] = []
    runs = _failures(measured, demand, needed.workers, lasts_s, scans)
    for arrived_s, response_s, back_s in runs:
        answers.append(response_s[(arrived_s >= back_s - lasts_s) & (arrived_s < back_s)])
        caught_up.append(_caught_up_after_s(arrived_s, response_s, back_s, needed.response_s.mean))
    hit = np.concatenate(answers) if answers else np.zeros(0)
    return Failure(
        lasts_s=lasts_s,
        left=forecast_for(left) if keeps_up else None,
        backlog_per_hour=0.0 if keeps_up else HOUR_S * (demand.rate - left * measured.scans_per_s),
        response_s=Spread.of(hit) if len(hit) else None,
        late_share=float(np.mean(hit > demand.within_s)) if len(hit) else 0.0,
        caught_up_s=_mean_if_all_known(caught_up),
    )


def _failures(
    measured: MeasuredCost, demand: Demand, workers: int, lasts_s: float, scans: int
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], float]]:
    """Yield runs in which a worker fails as the peak begins, until enough scans were affected.

    Of each run: when scans arrived, their response times, and when the worker was back.
    """
    at_s = HOUR_S * (1 - peak_share(demand.peak_factor))
    if demand.peak_factor == 1:
        at_s = min(at_s, scans / demand.rate)
    back_s = at_s + lasts_s
    after_s = min(HOUR_S, max(lasts_s, scans / demand.rate))
    count = math.ceil((back_s + after_s) * demand.rate) + _WINDOW_SCANS
    simulated = hit = 0
    for seed in range(SEED, SEED + _MOST_FAILURES):
        result = run(measured, demand, workers, count, Outage(at_s, lasts_s, LEASE_S), seed)
        affected = int(((result.arrived_s >= at_s) & (result.arrived_s < back_s)).sum())
        if affected:
            yield result.arrived_s, measured.response_s(result), back_s
        hit, simulated = hit + affected, simulated + count
        if hit >= _FAILURE_SCANS or simulated >= scans:
            return


def _mean_if_all_known(seconds: Sequence[float | None]) -> float | None:
    """Return the mean; None if one is unknown."""
    known = [value for value in seconds if value is not None]
    return float(np.mean(known)) if known and len(known) == len(seconds) else None


def _caught_up_after_s(
    arrived_s: NDArray[np.float64],
    response_s: NDArray[np.float64],
    back_s: float,
    usual_s: float,
) -> float | None:
    """Return how long after ``back_s`` a window of scans takes no longer than usual."""
    after = np.flatnonzero(arrived_s >= back_s)
    size = max(1, min(_WINDOW_SCANS, len(after) // 4))
    for start in range(0, len(after) - size + 1, size):
        window = after[start : start + size]
        if response_s[window].mean() <= _RECOVERED * usual_s:
            return float(arrived_s[window[0]]) - back_s if start else 0.0
    return None
