"""What the failure of one worker does to a load."""

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

#: A machine that dies is missed after its lease.
LEASE_S: float = Settings.model_fields["lease_s"].default
#: A failure is simulated this often at most, until so many scans came while it lasted.
_MOST_FAILURES, _FAILURE_SCANS = 20, 300
#: Waits are back to what they were when a window's mean is at most this many times the usual one.
_RECOVERED = 1.25
_WINDOW_SCANS = 50


@dataclass(frozen=True)
class Failure:
    """What the failure of one does.

    ``left`` is what the others make of the load, None where they cannot keep up: then
    ``backlog_per_hour`` scans more wait with every hour. ``answer_s`` is of the scans that came
    while it was away for ``lasts_s``, None where hardly any did; ``late_share`` of them missed the
    goal. All is as before ``caught_up_s`` after its return; None: that takes longer than was
    simulated, an hour at most.
    """

    lasts_s: float
    left: Forecast | None
    backlog_per_hour: float
    answer_s: Spread | None
    late_share: float
    caught_up_s: float | None


def fail_one(
    measured: MeasuredCost,
    demand: Demand,
    needed: Forecast,
    look: Callable[[int], Forecast],
    lasts_s: float,
    scans: int = LEAST_SCANS,
) -> Failure:
    """Return what becomes of the load if one of the workers ``needed`` fails.

    ``look`` gives the forecast of another number of workers; ``scans`` are simulated before and
    after a failure, at most.
    """
    left = needed.workers - 1
    bearable = left >= least_workers(measured, demand)
    answers: list[NDArray[np.float64]] = []
    caught_up: list[float | None] = []
    runs = _failures(measured, demand, needed.workers, lasts_s, scans)
    for came_s, answers_s, back_s in runs:
        answers.append(answers_s[(came_s >= back_s - lasts_s) & (came_s < back_s)])
        caught_up.append(_caught_up_s(came_s, answers_s, back_s, needed.answer_s.mean))
    hit = np.concatenate(answers) if answers else np.zeros(0)
    return Failure(
        lasts_s=lasts_s,
        left=look(left) if bearable else None,
        backlog_per_hour=0.0 if bearable else HOUR_S * (demand.rate - left * measured.scans_per_s),
        answer_s=Spread.of(hit) if len(hit) else None,
        late_share=float(np.mean(hit > demand.within_s)) if len(hit) else 0.0,
        caught_up_s=_mean_of_all(caught_up),
    )


def _failures(
    measured: MeasuredCost, demand: Demand, workers: int, lasts_s: float, scans: int
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], float]]:
    """Yield runs in which one fails as the busy stretch begins, until enough scans were hit.

    Of each: when scans came, how long they took, and when the worker was back.
    """
    at_s = HOUR_S * (1 - peak_share(demand.burst))
    if demand.burst == 1:
        at_s = min(at_s, scans / demand.rate)
    back_s = at_s + lasts_s
    after_s = min(HOUR_S, max(lasts_s, scans / demand.rate))
    count = math.ceil((back_s + after_s) * demand.rate) + _WINDOW_SCANS
    simulated = hit = 0
    for seed in range(SEED, SEED + _MOST_FAILURES):
        done = run(measured, demand, workers, count, Outage(at_s, lasts_s, LEASE_S), seed)
        found = int(((done.came_s >= at_s) & (done.came_s < back_s)).sum())
        if found:
            yield done.came_s, measured.answers_s(done), back_s
        hit, simulated = hit + found, simulated + count
        if hit >= _FAILURE_SCANS or simulated >= scans:
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
    size = max(1, min(_WINDOW_SCANS, len(after) // 4))
    for start in range(0, len(after) - size + 1, size):
        window = after[start : start + size]
        if answers_s[window].mean() <= _RECOVERED * usual_s:
            return float(came_s[window[0]]) - back_s if start else 0.0
    return None
