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

#: The service's default lease. A worker that fails is noticed when its leases expire.
LEASE_S: float = Settings.model_fields["lease_s"].default
#: The most runs with a failure.
_MOST_FAILURES = 20
#: No more runs are simulated once so many scans arrived during failures.
_FAILURE_SCANS = 300
#: Waits have recovered when the mean of a window is at most this many times the usual one.
_RECOVERED = 1.25
#: The most scans of a window.
_WINDOW_SCANS = 50


@dataclass(frozen=True)
class Failure:
    """The effect of the failure of one worker.

    Args:
        duration_s: How long the worker is away.
        remaining_forecast: The forecast for the other workers; None if they cannot keep up.
        backlog_per_hour: How many more scans wait after each hour, if they cannot keep up.
        response_s: Response times of the scans that arrived meanwhile; None if hardly any did.
        late_share: The share of those scans that missed the goal.
        caught_up_s: How long after the worker's return waits are as before; None: longer than was
            simulated, at most an hour.
    """

    duration_s: float
    remaining_forecast: Forecast | None
    backlog_per_hour: float
    response_s: Spread | None
    late_share: float
    caught_up_s: float | None


def forecast_failure(
    measured: MeasuredCost,
    demand: Demand,
    needed: Forecast,
    forecast_for: Callable[[int], Forecast],
    duration_s: float,
    scans: int = LEAST_SCANS,
    lease_s: float = LEASE_S,
) -> Failure:
    """Return the effect if one of the workers ``needed`` fails.

    ``forecast_for`` returns the forecast of another number of workers; the failure is noticed
    after ``lease_s``.

    Each run has up to ``scans`` before the failure, and up to as many after the worker's return.
    There are more before it if the load has a peak, because the failure begins with the peak, late
    in the hour. There are more after it if the worker is away for long, because the time after its
    return is then as long, up to an hour. The scans that arrive during the failure come on top.
    """
    remaining_workers = needed.workers - 1
    keeps_up = remaining_workers >= least_workers(measured, demand)
    affected_by_run: list[NDArray[np.float64]] = []
    caught_up: list[float | None] = []
    runs = _failures(measured, demand, needed.workers, duration_s, scans, lease_s)
    for arrived_s, response_s, back_s in runs:
        affected_by_run.append(
            response_s[(arrived_s >= back_s - duration_s) & (arrived_s < back_s)]
        )
        caught_up.append(_caught_up_after_s(arrived_s, response_s, back_s, needed.response_s.mean))
    affected_response_s = np.concatenate(affected_by_run) if affected_by_run else np.zeros(0)
    late_share = (affected_response_s > demand.within_s).mean() if len(affected_response_s) else 0.0
    backlog_per_s = demand.rate - remaining_workers * measured.scans_per_s
    return Failure(
        duration_s=duration_s,
        remaining_forecast=forecast_for(remaining_workers) if keeps_up else None,
        backlog_per_hour=0.0 if keeps_up else HOUR_S * backlog_per_s,
        response_s=Spread.of(affected_response_s) if len(affected_response_s) else None,
        late_share=float(late_share),
        caught_up_s=_mean_if_all_known(caught_up),
    )


def _failures(
    measured: MeasuredCost,
    demand: Demand,
    workers: int,
    duration_s: float,
    scans: int,
    lease_s: float,
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], float]]:
    """Yield runs in which a worker fails as the peak begins, until enough scans were affected.

    A scan is affected if it arrives during the failure. Of each run: when scans arrived, their
    response times, and when the worker was back.
    """
    at_s = HOUR_S * (1 - peak_share(demand.peak_factor))
    if demand.peak_factor == 1:
        at_s = min(at_s, scans / demand.rate)
    back_s = at_s + duration_s
    after_s = min(HOUR_S, max(duration_s, scans / demand.rate))
    count = math.ceil((back_s + after_s) * demand.rate) + _WINDOW_SCANS
    simulated = affected_count = 0
    for seed in range(SEED, SEED + _MOST_FAILURES):
        result = run(measured, demand, workers, count, Outage(at_s, duration_s, lease_s), seed)
        affected_in_run = int(((result.arrived_s >= at_s) & (result.arrived_s < back_s)).sum())
        if affected_in_run:
            yield result.arrived_s, measured.response_s(result), back_s
        affected_count, simulated = affected_count + affected_in_run, simulated + count
        if affected_count >= _FAILURE_SCANS or simulated >= scans:
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
