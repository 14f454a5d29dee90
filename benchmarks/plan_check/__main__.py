"""Whether `voxelq plan` tells the truth: ``python -m benchmarks.plan_check``.

In one run on this machine: scans come independently at several loads, and each load is simulated
with the very times at which they came. Before and after each, what a scan costs is measured as
``benchmarks.components`` does, for machines do not keep their speed. Mean, 95th percentile and
throughput of both are held against each other.
"""

import argparse
import os
import random
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from benchmarks.common.machine import machine, write_json
from benchmarks.common.sample_scan import sample_scan
from benchmarks.common.services import voxelq
from benchmarks.components.__main__ import SHAPE
from benchmarks.components.load import (
    NotMeasured,
    Rest,
    Round,
    Way,
    measure,
    service_facts,
)
from benchmarks.components.report import round_numbers
from benchmarks.plan_check.report import COMPARED, plot, print_report, worst
from planning.arrivals import poisson_arrivals
from planning.cost import MAX_BATCH, MeasuredCost, cost_of_components
from planning.simulation import Adaptive, simulate

LOADS = (0.4, 0.6, 0.8)
#: The first scans of a load, real or simulated, find a queue that is still filling.
_WARM_SHARE = 0.1
#: Scans that the simulated policy learns from before those that are compared.
_LEARNING_SCANS = 300
#: What chance does to a simulated load is averaged over as many runs.
_SEEDS = 20
#: Clients that may wait at once; a load that needs more is no longer one that the workers bear.
_CLIENTS = 64


@dataclass(frozen=True)
class Figures:
    """What clients saw of one load, in seconds and scans a second, and the mean batch."""

    mean_s: float
    p95_s: float
    scans_per_s: float
    batch_size: float

    @classmethod
    def of(
        cls, arrived_s: NDArray[np.float64], latencies_s: NDArray[np.float64], batch_size: float
    ) -> "Figures":
        """Return the figures of scans in the order in which they came."""
        warm = int(len(arrived_s) * _WARM_SHARE)
        return cls(
            float(latencies_s[warm:].mean()),
            float(np.percentile(latencies_s[warm:], 95)),
            len(arrived_s) / float((arrived_s + latencies_s).max() - arrived_s.min()),
            batch_size,
        )

    @classmethod
    def mean_of(cls, many: Sequence["Figures"]) -> "Figures":
        """Return the mean of every figure."""
        return cls(
            **{
                field.name: statistics.fmean(getattr(one, field.name) for one in many)
                for field in fields(cls)
            }
        )


def submit_scan(way: Way, due_s: Sequence[float]) -> Figures:
    """Hand a scan in at each of these times; return what became of them.

    Times to the answer count from when a scan was due, so that none is spared its wait.

    Raises:
        NotMeasured: A scan was not done.
    """
    callers = [way.connect() for _ in range(min(_CLIENTS, len(due_s)))]
    free = list(callers)
    start_s = time.perf_counter()

    def ask(due: float) -> tuple[float, int]:
        caller = free.pop()
        try:
            size = caller.ask().batch_size
        finally:
            free.append(caller)
        bar.advance(task)
        return time.perf_counter() - start_s - due, size

    try:
        with Progress(transient=True) as bar, ThreadPoolExecutor(len(callers)) as pool:
            task = bar.add_task("a load", total=len(due_s))
            asked = []
            for due in due_s:
                time.sleep(max(0.0, start_s + due - time.perf_counter()))
                asked.append(pool.submit(ask, due))
            answers = [one.result() for one in asked]
    finally:
        for caller in callers:
            caller.close()
    latencies_s = np.array([latency_s for latency_s, _ in answers])
    batches = sum(1 / size for _, size in answers)
    return Figures.of(np.array(due_s), latencies_s, len(answers) / batches)


def simulated(
    measured: MeasuredCost, due_s: Sequence[float], *, rate: float, workers: int
) -> Figures:
    """Return what the simulation makes of scans that come at these times."""
    learning = list(islice(poisson_arrivals(rate, seed=1), _LEARNING_SCANS))
    # the queue is empty again before the scans that count
    begins_s = learning[-1] + _LEARNING_SCANS * measured.cost.seconds(1)
    times = [*learning, *(begins_s + due for due in due_s)]
    many = []
    for seed in range(_SEEDS):
        run = simulate(
            Adaptive(measured.max_batch, measured.max_latency_s),
            measured.cost,
            iter(times),
            scans=len(times),
            workers=workers,
            lanes=measured.lanes,
            noise=measured.noise,
            upload_s=measured.upload_s,
            seed=seed,
        )
        latencies_s = measured.response_times_s(run)[_LEARNING_SCANS:]
        many.append(Figures.of(np.array(due_s), latencies_s, float(run.sizes.mean())))
    return Figures.mean_of(many)


def calibrate(way: Rest, *, requests: int) -> list[Round]:
    """Measure a lone client, a scan waiting for every lane, and a crowd for batches of any size."""
    lone = measure(way, requests=requests, clients=1)
    facts = service_facts(way.url)
    max_batch = int(os.environ.get("VOXELQ_MAX_BATCH_SIZE", MAX_BATCH))
    busy = 2 * facts["lanes"] * facts["workers"]
    crowds = sorted({busy, busy * max_batch})
    return [lone, *(measure(way, requests=requests, clients=clients) for clients in crowds)]


def cost_of(rounds: Sequence[Sequence[Round]], facts: dict[str, Any]) -> MeasuredCost:
    """Return what `voxelq plan` would read of several calibrations taken together."""
    together = [
        Round(
            many[0].protocol,
            many[0].clients,
            sum(one.seconds for one in many),
            [sample for one in many for sample in one.samples],
        )
        for many in zip(*rounds, strict=True)
    ]
    bounds = {k: v for k, v in os.environ.items() if k.startswith("VOXELQ_")}
    numbers = [round_numbers(one) for one in together]
    return cost_of_components(
        {"machine": machine(), "settings": bounds, "service": facts, "rounds": numbers}
    )


def run_load(way: Way, *, load: float, rate: float, seconds: float) -> dict[str, Any]:
    """Hand scans in at ``rate`` a second, at independent times; return what became of them."""
    count = max(10, round(rate * seconds))
    chance = random.Random(load)
    due_s = sorted(chance.uniform(0, count / rate) for _ in range(count))
    return {"load": load, "rate": rate, "due_s": due_s, "real": submit_scan(way, due_s)}


def compared(row: dict[str, Any], measured: MeasuredCost, workers: int) -> dict[str, Any]:
    """Return a load that was run beside what the simulation makes of it."""
    real = row["real"]
    found = simulated(measured, row["due_s"], rate=row["rate"], workers=workers)
    return {
        "load": row["load"],
        "scans": len(row["due_s"]),
        "scans_per_hour": 3600 * row["rate"],
        "utilisation": row["rate"] / (workers * measured.scans_per_s),
        "measured": asdict(measured),
        "real": asdict(real),
        "simulated": asdict(found),
        "ratios": {name: getattr(found, name) / getattr(real, name) for name in COMPARED},
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, load, simulate; return what is written.

    Raises:
        NotMeasured: A scan was not done.
        OSError: The image cannot be read.
    """
    scan = options.image.read_bytes() if options.image else sample_scan(SHAPE)
    with voxelq(options.workers) as service:
        way = Rest(service.url.removesuffix("/predict"), scan)
        rounds = [calibrate(way, requests=options.requests)]
        facts = service_facts(way.url)
        loads = []
        for load in options.loads:
            rate = load * options.workers * cost_of(rounds[-1:], facts).scans_per_s
            loads.append(run_load(way, load=load, rate=rate, seconds=options.seconds))
            rounds.append(calibrate(way, requests=options.requests))
    rows = [
        compared(load, cost_of(rounds[number : number + 2], facts), options.workers)
        for number, load in enumerate(loads)
    ]
    return {
        "workers": options.workers,
        "seconds": options.seconds,
        "scan": {"bytes": len(scan), "shape": rounds[0][0].shape},
        "service": facts,
        "loads": rows,
        "worst": worst(rows),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--image", type=Path, help="a .nii or .nii.gz; default: 256x256x128")
    parser.add_argument("--workers", type=int, default=1, help="of the local stack")
    parser.add_argument(
        "--requests", type=int, default=30, help="of each round of a calibration, at least"
    )
    parser.add_argument("--loads", type=float, nargs="+", default=LOADS, help="between 0 and 1")
    parser.add_argument("--seconds", type=float, default=240.0, help="of each load")
    parser.add_argument("--output", type=Path, default=None, help="folder for JSON and plot")
    options = parser.parse_args()
    if not all(0 < load < 1 for load in options.loads):
        parser.error("a load lies between 0 and 1")
    try:
        numbers = run(options)
    except NotMeasured as error:
        sys.exit(f"nothing was checked: {error}")
    except OSError as error:
        sys.exit(f"nothing was checked: {error.strerror or error}")
    console = Console()
    print_report(console, numbers)
    written = write_json("plan_check", numbers, *([options.output] if options.output else []))
    plot(numbers, written.with_suffix(".png"))
    console.print(f"written: {written}, {written.with_suffix('.png').name}", soft_wrap=True)


if __name__ == "__main__":
    main()
