"""Every policy on the same simulated arrivals and costs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.batching.policies import POLICIES
from planning.arrivals import bursty_arrivals, constant_arrivals, poisson_arrivals
from planning.simulation import simulate
from shared.batching.cost_model import BatchCost

MAX_SIZE = 8
#: Standard deviation of the logarithm of a batch's time.
NOISE = 0.05
SEED = 1

#: CPU-like: the default model on one core. GPU-like: a network on whole volumes, with transfers.
COSTS = {
    "CPU-like": BatchCost(0.005, 0.250),
    "between": BatchCost(0.050, 0.050),
    "GPU-like": BatchCost(0.040, 0.004),
}
#: Shares of the workers' throughput with the largest batches.
LOADS = {"low": 0.2, "middle": 0.6, "full": 0.95, "over": 1.2}


@dataclass(frozen=True)
class Traffic:
    """How scans arrive, how many workers process them, and how long a batch may wait for more."""

    name: str
    arrivals: Callable[[float], Iterator[float]]
    workers: int = 1
    max_latency_s: float = 0.005


def _poisson(rate: float) -> Iterator[float]:
    return poisson_arrivals(rate, seed=SEED)


def _series(rate: float) -> Iterator[float]:
    return bursty_arrivals(rate, series_size=8, gap_s=0.002, seed=SEED)


TRAFFIC = (
    Traffic("Poisson", _poisson),
    Traffic("even", constant_arrivals),
    Traffic("series of 8, 2 ms apart", _series),
    Traffic("the same series, window of 20 ms", _series, max_latency_s=0.020),
    Traffic("Poisson, 4 workers", _poisson, workers=4),
)


@dataclass(frozen=True)
class Row:
    """The result of one policy under one traffic, cost and load."""

    traffic: str
    cost: str
    load: str
    policy: str
    mean_s: float
    p99_s: float
    scans_per_s: float
    mean_size: float


def measure(traffic: Traffic, cost_name: str, load: str, scans: int) -> list[Row]:
    """Run every policy on the same arrivals; VoxelQ's row is the first."""
    cost = COSTS[cost_name]
    rate = LOADS[load] * traffic.workers * MAX_SIZE / cost.seconds(MAX_SIZE)
    rows = []
    for name, policy in POLICIES.items():
        outcome = simulate(
            policy(MAX_SIZE, traffic.max_latency_s),
            cost,
            traffic.arrivals(rate),
            scans=scans,
            workers=traffic.workers,
            noise=NOISE,
            seed=SEED,
        )
        rows.append(
            Row(
                traffic=traffic.name,
                cost=cost_name,
                load=load,
                policy=name,
                mean_s=outcome.mean_s,
                p99_s=outcome.percentile_s(99),
                scans_per_s=outcome.throughput,
                mean_size=float(outcome.sizes.mean()),
            )
        )
    return rows


def against_best(rows: list[Row]) -> dict[str, float]:
    """Return VoxelQ's numbers divided by the best other: less is better, except for throughput."""
    ours, *others = rows
    return {
        "mean": ours.mean_s / min(row.mean_s for row in others),
        "p99": ours.p99_s / min(row.p99_s for row in others),
        "throughput": ours.scans_per_s / max(row.scans_per_s for row in others),
    }


def worst_against_best(cases: list[list[Row]]) -> dict[str, tuple[float, str]]:
    """Return VoxelQ's worst case by each measure: the ratio, and its traffic, cost and load."""
    places = [f"{rows[0].traffic}, {rows[0].cost}, {rows[0].load} load" for rows in cases]
    ratios = [against_best(rows) for rows in cases]
    worst = {}
    for name, pick in (("mean", max), ("p99", max), ("throughput", min)):
        worst[name] = pick(
            (ratio[name], place) for ratio, place in zip(ratios, places, strict=True)
        )
    return worst
