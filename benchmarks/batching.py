"""Forming batches, simulated: ``python -m benchmarks.batching`` (or ``make bench-batching``).

VoxelQ's policy beside a fixed window, Triton's rule and BentoML's, on the same arrivals and the
same costs: mean and 99th percentile of latency, and throughput, from a fifth of what the workers
can do to a fifth more than that. The simulator is :mod:`planning.simulation`; nothing is served.
"""

import argparse
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.common.machine import machine, write_json
from planning.arrivals import bursty_arrivals, constant_arrivals, poisson_arrivals
from planning.simulation import (
    Adaptive,
    FixedWindow,
    HoldUntil,
    Moment,
    Policy,
    Take,
    simulate,
)
from shared.batching.cost_model import BatchCost

MAX_SIZE = 8
#: Standard deviation of the logarithm of a batch's time.
NOISE = 0.05
SEED = 1

#: The CPU's is the default model's on one core; the GPU's a whole-volume network's with transfers.
COSTS = {
    "CPU-like": BatchCost(0.005, 0.250),
    "between": BatchCost(0.050, 0.050),
    "GPU-like": BatchCost(0.040, 0.004),
}
#: Share of what the workers can do with the largest batches.
LOADS = {"low": 0.2, "middle": 0.6, "full": 0.95, "over": 1.2}

console = Console()


class Triton:
    """Triton's dynamic batcher: take all that waits once the oldest waited long enough.

    The delay counts from when the oldest request came, so requests that gathered behind a pass are
    taken at once. No preferred sizes. Source: `docs/user_guide/batcher.md` of
    triton-inference-server/server and `GetDynamicBatch` in `src/dynamic_batch_scheduler.cc` of its
    `core`.
    """

    def __init__(self, max_size: int, max_latency_s: float) -> None:
        self._max_size = max_size
        self._delay_s = max_latency_s

    def on_arrival(self, now_s: float) -> None:
        """Nothing is learnt."""

    def decide(self, moment: Moment) -> Take | HoldUntil:
        """Hold until full or until the oldest is due."""
        due_s = moment.oldest_s + self._delay_s
        if moment.queued < self._max_size and moment.now_s < due_s:
            return HoldUntil(due_s)
        return Take(min(moment.queued, self._max_size))

    def on_batch_done(self, size: int, waited_s: float, seconds: float, concurrency: float) -> None:
        """Nothing is learnt."""


class BentoML:
    """BentoML's dispatcher: hold while a newcomer would cost less than is usually waited anyway.

    A line is fitted to the last 50 batches; with ``n`` waiting it looks again after a tick as long
    as ``n * (age of the newest + tick + slope)`` is below 0.95 of the mean wait of those batches.
    Kinder than its source: the line is refreshed with every batch and not every five seconds, the
    oldest are taken first and not the newest, nothing is shed, and there is no training phase.
    Source: `CorkDispatcher` in `src/bentoml/_internal/marshal/dispatcher.py` of bentoml/BentoML.
    """

    TICK_S = 0.001

    def __init__(self, max_size: int, max_latency_s: float) -> None:
        self._max_size = max_size
        self._seen: deque[tuple[int, float, float]] = deque(maxlen=50)
        self._slope_s = max_latency_s * 2 / 30
        self._wait_s = 0.01

    def on_arrival(self, now_s: float) -> None:
        """Nothing is learnt."""

    def decide(self, moment: Moment) -> Take | HoldUntil:
        """Hold, tick by tick, while the rule says so."""
        count = moment.queued
        price_s = count * (moment.now_s - moment.newest_s + self.TICK_S + self._slope_s)
        if count < self._max_size and price_s <= 0.95 * self._wait_s:
            return HoldUntil(moment.now_s + self.TICK_S)
        return Take(min(count, self._max_size))

    def on_batch_done(self, size: int, waited_s: float, seconds: float, concurrency: float) -> None:
        """Fit the line, and average the waits."""
        self._seen.append((size, waited_s, seconds))
        count = len(self._seen)
        sizes = sum(one[0] for one in self._seen)
        total_s = sum(one[2] for one in self._seen)
        spread = count * sum(one[0] ** 2 for one in self._seen) - sizes**2
        if spread:
            slope_s = (
                count * sum(one[0] * one[2] for one in self._seen) - sizes * total_s
            ) / spread
            self._slope_s = max(1e-6, slope_s)
        self._wait_s = sum(one[1] for one in self._seen) / count


POLICIES: dict[str, Callable[[int, float], Policy]] = {
    "VoxelQ": Adaptive,
    "fixed window": FixedWindow,
    "Triton": Triton,
    "BentoML": BentoML,
}


@dataclass(frozen=True)
class Traffic:
    """How scans come, how many workers serve them, and how long a batch may gather."""

    name: str
    arrivals: Callable[[float], Iterator[float]]
    workers: int = 1
    max_latency_s: float = 0.005


def _poisson(rate: float) -> Iterator[float]:
    return poisson_arrivals(rate, seed=SEED)


def _series(rate: float) -> Iterator[float]:
    return bursty_arrivals(rate, burst=8, gap_s=0.002, seed=SEED)


TRAFFIC = (
    Traffic("Poisson", _poisson),
    Traffic("even", constant_arrivals),
    Traffic("series of 8, 2 ms apart", _series),
    Traffic("the same series, window of 20 ms", _series, max_latency_s=0.020),
    Traffic("Poisson, 4 workers", _poisson, workers=4),
)


@dataclass(frozen=True)
class Row:
    """One policy under one traffic, cost and load."""

    traffic: str
    cost: str
    load: str
    policy: str
    mean_s: float
    p99_s: float
    scans_per_s: float
    mean_size: float


def measure(traffic: Traffic, cost_name: str, load: str, scans: int) -> list[Row]:
    """Run every policy on the same arrivals; VoxelQ comes first."""
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
    """Return ours over the best of the others: less is better, but for throughput."""
    ours, *others = rows
    return {
        "mean": ours.mean_s / min(row.mean_s for row in others),
        "p99": ours.p99_s / min(row.p99_s for row in others),
        "throughput": ours.scans_per_s / max(row.scans_per_s for row in others),
    }


def worst_against_best(cases: list[list[Row]]) -> dict[str, tuple[float, str]]:
    """Return where we fare worst by each measure: the ratio, and under what."""
    places = [f"{rows[0].traffic}, {rows[0].cost}, {rows[0].load} load" for rows in cases]
    ratios = [against_best(rows) for rows in cases]
    found = {}
    for name, pick in (("mean", max), ("p99", max), ("throughput", min)):
        found[name] = pick((one[name], place) for one, place in zip(ratios, places, strict=True))
    return found


def print_table(traffic: Traffic, cases: list[list[Row]]) -> None:
    """Print one traffic's table: mean / p99 latency and batch size, and ours against the best."""
    table = Table(
        "cost",
        "load",
        *POLICIES,
        "mean x best",
        "p99 x best",
        "scans/s x best",
        title=f"{traffic.name}: mean / p99 latency in ms (mean batch), "
        f"window {1e3 * traffic.max_latency_s:g} ms",
    )
    for rows in cases:
        ratios = against_best(rows)
        table.add_row(
            rows[0].cost,
            rows[0].load,
            *(f"{1e3 * r.mean_s:,.0f} / {1e3 * r.p99_s:,.0f} ({r.mean_size:.1f})" for r in rows),
            *(f"{ratios[name]:.3f}" for name in ("mean", "p99", "throughput")),
        )
    console.print(table)


def plot(cases: list[list[Row]], path: Path) -> None:
    """Draw latencies of each policy as multiples of the best: independent scans, and series."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    loads = [f"{name}\n{share:g}" for name, share in LOADS.items()]
    figure, axes = plt.subplots(
        3, len(COSTS), figsize=(11, 8.5), sharex=True, sharey="row", layout="constrained"
    )
    figure.suptitle("latency as a multiple of the best policy's, one worker")
    lines = (
        (TRAFFIC[0].name, "mean_s", "mean"),
        (TRAFFIC[0].name, "p99_s", "99th percentile"),
        (TRAFFIC[2].name, "mean_s", "mean"),
    )
    for column, cost in enumerate(COSTS):
        for line, (traffic, field, word) in enumerate(lines):
            chosen = [c for c in cases if c[0].cost == cost and c[0].traffic == traffic]
            axis = axes[line][column]
            if column == 0:
                axis.set_ylabel(f"{traffic}\n{word}")
            for index, policy in enumerate(POLICIES):
                axis.plot(
                    loads,
                    [
                        getattr(rows[index], field) / min(getattr(row, field) for row in rows)
                        for rows in chosen
                    ],
                    marker="o",
                    linewidth=2.5 if policy == "VoxelQ" else 1.2,
                    zorder=3 if policy == "VoxelQ" else 2,
                    label=policy,
                )
            axis.axhline(1.05, color="grey", linewidth=0.8, linestyle=":")
            axis.set_title(cost if line == 0 else "")
        axes[-1][column].set_xlabel("load")
    axes[0][0].legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Simulate, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scans", type=int, default=50_000, help="scans for each run")
    parser.add_argument("--output", type=Path, default=None, help="folder for JSON and plot")
    options = parser.parse_args()
    facts = machine()
    console.print(f"[bold]{facts['cpu']}, {facts['cores']} cores, Python {facts['python']}")
    console.print(f"batches up to {MAX_SIZE}; BentoML's rule knows no window")
    cases: list[list[Row]] = []
    for traffic in TRAFFIC:
        rows = [measure(traffic, cost, load, options.scans) for cost in COSTS for load in LOADS]
        print_table(traffic, rows)
        cases += rows
    worst = worst_against_best(cases)
    for name, (ratio, where) in worst.items():
        console.print(f"at its worst, {name} x {ratio:.3f} of the best other: {where}")
    numbers: dict[str, Any] = {
        "max_size": MAX_SIZE,
        "noise": NOISE,
        "scans": options.scans,
        "costs": {name: asdict(cost) for name, cost in COSTS.items()},
        "loads": LOADS,
        "worst_against_best": worst,
        "rows": [asdict(row) for rows in cases for row in rows],
    }
    written = write_json("batching", numbers, *([options.output] if options.output else []))
    plot(cases, written.with_suffix(".png"))
    console.print(f"written: {written}, {written.with_suffix('.png').name}")


if __name__ == "__main__":
    main()
