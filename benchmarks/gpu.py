"""How busy a GPU is kept: ``python -m benchmarks.gpu`` (or ``make bench-gpu``).

The scan of :mod:`benchmarks.scan` over HTTP, with 1 to 4 workers that share one GPU, and one with
memory growth off: scans an hour, the share of time in which the device computes, and the GPU
memory that is held under load and afterwards. Where torch sees no GPU it says so.
"""

import argparse
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.common.load import Load, measure
from benchmarks.common.machine import machine, write_json
from benchmarks.common.sample_scan import sample_scan
from benchmarks.common.services import voxelq
from benchmarks.scan.__main__ import QUICK_SHAPE, SHAPE

WORKERS = (1, 2, 3, 4)
#: More than a worker has lanes, so that it always finds a scan.
CLIENTS_A_WORKER = 8
BUSY_AIM = 0.9
FIRST_LOOK_S = 30.0
#: How long after the last scan the memory that is still held is looked at.
REST_S = 5.0


@dataclass(frozen=True)
class Sample:
    """One look at the GPU: share of the last moment that it computed, and MiB in use."""

    at_s: float
    busy: float
    memory_mib: float


@dataclass(frozen=True)
class Row:
    """One way to serve, and what came of it; memory is MiB above what was there before."""

    workers: int
    growth: bool
    clients: int
    scans_per_hour: float
    p50_s: float
    p95_s: float
    busy: float
    peak_mib: float
    rest_mib: float
    stages_s: dict[str, float]
    core_shares: dict[str, float]


def parse_sample(line: str, at_s: float) -> Sample | None:
    """Read ``93, 1210`` (per cent, MiB); None where the driver does not tell."""
    try:
        busy, memory_mib = map(float, line.split(","))
    except ValueError:
        return None
    return Sample(at_s, busy / 100, memory_mib)


@contextmanager
def gpu_samples(uuid: str) -> Iterator[list[Sample]]:
    """Look at a GPU ten times a second; yield the growing list of samples.

    Raises:
        RuntimeError: The driver does not tell how busy it is.
    """
    command = [
        *("nvidia-smi", f"--id={uuid}", "--query-gpu=utilization.gpu,memory.used"),
        *("--format=csv,noheader,nounits", "--loop-ms=100"),
    ]
    samples: list[Sample] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:

        def read() -> None:
            for line in watch.stdout or ():
                sample = parse_sample(line, time.perf_counter())
                if sample:
                    samples.append(sample)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            began = time.monotonic()
            while not samples:
                if watch.poll() is not None or time.monotonic() > began + FIRST_LOOK_S:
                    raise RuntimeError("nvidia-smi does not tell how busy this GPU is")
                time.sleep(0.05)
            yield samples
        finally:
            watch.terminate()
            reader.join()


def summarise(
    load: Load, samples: Sequence[Sample], *, workers: int, growth: bool, before_mib: float
) -> Row:
    """Put together what clients and GPU told; the last sample is from when the load was over."""
    ended_s = load.began_s + load.window_s
    within = [one for one in samples if load.began_s < one.at_s <= ended_s]
    return Row(
        workers=workers,
        growth=growth,
        clients=CLIENTS_A_WORKER * workers,
        scans_per_hour=3600 * load.scans_per_s,
        p50_s=load.latency_s(50),
        p95_s=load.latency_s(95),
        busy=statistics.fmean(one.busy for one in within),
        peak_mib=max(one.memory_mib for one in within) - before_mib,
        rest_mib=samples[-1].memory_mib - before_mib,
        stages_s=load.stages_s(),
        core_shares=load.core_time.shares(),
    )


def served(
    samples: Sequence[Sample], scan: bytes, *, workers: int, growth: bool, seconds: float
) -> Row:
    """Serve with some workers on the first GPU, each with its share of the memory."""
    time.sleep(1)  # what the last row's workers held is given back by then
    before_mib = samples[-1].memory_mib
    settings = {
        "VOXELQ_DEVICE": "cuda:0",
        "VOXELQ_GPU_MEMORY_GROWTH": str(growth),
        "VOXELQ_GPU_MEMORY_FRACTION": f"{1 / workers:.2f}",
    }
    with voxelq(workers, **settings) as service:
        load = measure(
            service,
            scan,
            clients=CLIENTS_A_WORKER * workers,
            warm_s=seconds / 3,
            seconds=seconds,
        )
        time.sleep(REST_S)
        rested = list(samples)
    return summarise(load, rested, workers=workers, growth=growth, before_mib=before_mib)


def print_report(console: Console, gpu: str, rows: Sequence[Row]) -> None:
    """Print the table, and whether the aim is reached."""
    facts = machine()
    console.print(f"[bold]{gpu}; {facts['cpu']}, {facts['cores']} cores, Python {facts['python']}")
    table = Table(
        "workers", "growth", "clients", "scans/h", "p50 ms", "p95", "busy", "MiB", "MiB at rest",
        "cores idle %",
        title="POST /predict on one GPU",
    )  # fmt: skip
    for row in rows:
        table.add_row(
            str(row.workers),
            "on" if row.growth else "off",
            str(row.clients),
            f"{row.scans_per_hour:,.0f}",
            f"{1000 * row.p50_s:.0f}",
            f"{1000 * row.p95_s:.0f}",
            f"{row.busy:.2f}",
            f"{row.peak_mib:.0f}",
            f"{row.rest_mib:.0f}",
            f"{100 * row.core_shares['idle']:.0f}",
        )
    console.print(table)
    best = max(row.busy for row in rows)
    reached = "reached" if best >= BUSY_AIM else "missed"
    console.print(f"busy {best:.2f} of the time; aimed at at least {BUSY_AIM}: {reached}")


def plot(rows: Sequence[Row], path: Path) -> None:
    """Draw scans an hour, busy share and memory against the workers."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    names = [f"{row.workers}{'' if row.growth else ', growth off'}" for row in rows]
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for axis, (title, values) in zip(
        axes,
        {
            "scans an hour": [row.scans_per_hour for row in rows],
            "share of time the device computes": [row.busy for row in rows],
            "MiB of GPU memory under load": [row.peak_mib for row in rows],
        }.items(),
        strict=True,
    ):
        axis.bar_label(axis.bar(names, values, color="#4878a8"), fmt="%.3g")
        axis.set(title=title, xlabel="workers")
    axes[1].axhline(BUSY_AIM, color="grey", linestyle=":")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=30.0, help="window of each load")
    parser.add_argument("--quick", action="store_true", help="a small scan and short windows")
    parser.add_argument("--output", type=Path, default=None, help="folder for JSON and plot")
    options = parser.parse_args()
    console = Console()
    if not torch.cuda.is_available():
        console.print("There is no GPU here that torch can use, so nothing was measured.")
        return
    gpu = torch.cuda.get_device_properties(0)
    seconds = 1.0 if options.quick else options.seconds
    scan = sample_scan(QUICK_SHAPE if options.quick else SHAPE)
    with gpu_samples(f"GPU-{gpu.uuid}") as samples:
        rows = [
            served(samples, scan, workers=workers, growth=growth, seconds=seconds)
            for workers, growth in ((1, False), *((count, True) for count in WORKERS))
        ]
    print_report(console, gpu.name, rows)
    numbers: dict[str, Any] = {"gpu": gpu.name, "seconds": seconds, "rows": list(map(asdict, rows))}
    written = write_json("gpu", numbers, *([options.output] if options.output else []))
    plot(rows, written.with_suffix(".png"))
    console.print(f"written: {written}, {written.with_suffix('.png').name}")


if __name__ == "__main__":
    main()
