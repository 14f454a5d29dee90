"""How a number of workers handles a load, simulated with the service's own batching policy.

The same scan has the same random duration whatever the load and the number of workers, so that
forecasts do not differ by chance.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planning.arrivals import HOUR_S, peaked_arrivals
from planning.cost import MeasuredCost
from planning.simulation import Adaptive, Outage, SimulationResult, simulate

#: The fewest scans that are simulated for a number of workers, if the user gives no number.
LEAST_SCANS = 20_000
#: The fewest scans for each worker, so that the start of a run has little weight.
_SCANS_A_WORKER = 50
#: Hours that are simulated of a load with a peak.
_USUAL_HOURS = 3
#: If those hours have more scans than this, only so many are simulated, to save time: with so many
#: scans a single peak is enough for the percentiles.
_MANY_SCANS = 200_000
#: The fewest hours that are simulated of a load with a peak: one, and the time after its peak.
_LEAST_HOURS = 1.2
#: The start of a run that is left out, in which the policy learns and queues fill.
_WARM_SHARE = 0.05
SEED = 7


@dataclass(frozen=True)
class Demand:
    """The load, and the goal: ``percentile`` per cent of the scans answered ``within_s``.

    ``peak_factor`` is the rate in the peak of each hour, as a multiple of the mean.
    """

    scans_per_hour: float
    within_s: float
    percentile: float = 95.0
    peak_factor: float = 1.0

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
    """How a number of workers handles a load.

    ``utilisation`` is the load's share of what they can compute at most; ``wait_s`` is the time
    until a worker draws the scan, ``response_s`` the time until the client has the result, and
    ``goal_s`` the goal's percentile of the response times.
    """

    workers: int
    utilisation: float
    wait_s: Spread
    response_s: Spread
    goal_s: float
    reached: bool
    batch_size: float


def least_workers(measured: MeasuredCost, demand: Demand) -> int:
    """Return the fewest workers that do not fall behind for good."""
    return math.floor(demand.rate / measured.scans_per_s) + 1


def forecast(
    measured: MeasuredCost, demand: Demand, *, workers: int, scans: int | None = None
) -> Forecast:
    """Return how ``workers`` handle a load; there must be at least :func:`least_workers`."""
    result = run(measured, demand, workers, scans_for(demand, workers, scans))
    warm = int(len(result.arrived_s) * _WARM_SHARE)
    response_s = measured.response_s(result)[warm:]
    goal_s = float(np.percentile(response_s, demand.percentile))
    return Forecast(
        workers=workers,
        utilisation=demand.rate / (workers * measured.scans_per_s),
        wait_s=Spread.of(result.wait_s[warm:]),
        response_s=Spread.of(response_s),
        goal_s=goal_s,
        reached=goal_s <= demand.within_s * (1 + 1e-9),
        batch_size=float(result.sizes.mean()),
    )


def scans_for(demand: Demand, workers: int, scans: int | None) -> int:
    """Return how many scans to simulate: ``scans`` if given, else enough for the percentiles."""
    if scans is not None:
        return scans
    enough = max(LEAST_SCANS, _SCANS_A_WORKER * workers)
    if demand.peak_factor == 1:
        return enough
    usual = math.ceil(_USUAL_HOURS * demand.scans_per_hour)
    least = math.ceil(_LEAST_HOURS * demand.scans_per_hour)
    return max(enough, min(usual, max(_MANY_SCANS, least)))


def run(
    measured: MeasuredCost,
    demand: Demand,
    workers: int,
    scans: int,
    outage: Outage | None = None,
    seed: int = SEED,
) -> SimulationResult:
    """Simulate ``scans`` of a load."""
    return simulate(
        Adaptive(measured.max_batch, measured.max_latency_s),
        measured.cost,
        peaked_arrivals(demand.rate, peak_factor=demand.peak_factor, seed=seed),
        scans=scans,
        workers=workers,
        lanes=measured.lanes,
        noise=measured.noise,
        upload_s=measured.upload_s,
        seed=seed,
        outage=outage,
    )
