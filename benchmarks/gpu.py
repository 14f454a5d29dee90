"""How busy a GPU is kept: ``python -m benchmarks.gpu`` (or ``make bench-gpu``).

The scan of :mod:`benchmarks.scan` over HTTP, with 1 to 4 workers that share one GPU, and one worker
with memory growth off: scans an hour, the share of time in which the device computes, and the GPU
memory that is taken under load and afterwards. Where torch finds no GPU it says so.
"""

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

from benchmarks.common.load import LoadResult, measure
from benchmarks.common.machine import write_json
from benchmarks.common.output import (
    add_output_option,
    bound_in_words,
    option_parser,
    print_machine,
    pyplot,
)
from benchmarks.common.sample_scan import FULL_SHAPE, QUICK_SHAPE, sample_scan
from benchmarks.common.services import voxelq

WORKERS = (1, 2, 3, 4)
#: More than a worker has lanes, so that there is always a scan in its queue.
CLIENTS_A_WORKER = 8
BUSY_AIM = 0.9
FIRST_SAMPLE_S = 30.0
#: How long after the last scan the memory at rest is read.
REST_S = 5.0


@dataclass(frozen=True)
class Sample:
    """The GPU at a moment: the share of time in which it computed lately, and the MiB in use."""

    at_s: float
    busy: float
    memory_mib: float


@dataclass(frozen=True)
class Row:
    """A setting of the service and its results; memory is in MiB above what was in use before."""

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
    """Read ``93, 1210`` (per cent, MiB); None where the driver has no number."""
    try:
        busy, memory_mib = map(float, line.split(","))
    except ValueError:
        return None
    return Sample(at_s, busy / 100, memory_mib)


@contextmanager
def gpu_samples(uuid: str) -> Iterator[list[Sample]]:
    """Read the state of a GPU ten times a second; yield the growing list of samples.

    Raises:
        RuntimeError: The driver does not report how busy it is.
    """
    command = [
        *("nvidia-smi", f"--id={uuid}", "--query-gpu=utilization.gpu,memory.used"),
        *("--format=csv,noheader,nounits", "--loop-ms=100"),
    ]
    samples: list[Sample] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as monitor:

        def read() -> None:
            for line in monitor.stdout or ():
                sample = parse_sample(line, time.perf_counter())
                if sample:
                    samples.append(sample)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            began = time.monotonic()
            while not samples:
                if monitor.poll() is not None or time.monotonic() > began + FIRST_SAMPLE_S:
                    raise RuntimeError("nvidia-smi does not report how busy this GPU is")
                time.sleep(0.05)
            yield samples
        finally:
            monitor.terminate()
            reader.join()


def summarise(
    load: LoadResult, samples: Sequence[Sample], *, workers: int, growth: bool, before_mib: float
) -> Row:
    """Return the row of a load; the last of the samples was taken after its end."""
    ended_s = load.began_s + load.window_s
    within = [sample for sample in samples if load.began_s < sample.at_s <= ended_s]
    return Row(
        workers=workers,
        growth=growth,
        clients=CLIENTS_A_WORKER * workers,
        scans_per_hour=3600 * load.scans_per_s,
        p50_s=load.latency_s(50),
        p95_s=load.latency_s(95),
        busy=statistics.fmean(sample.busy for sample in within),
        peak_mib=max(sample.memory_mib for sample in within) - before_mib,
        rest_mib=samples[-1].memory_mib - before_mib,
        stages_s=load.stages_s(),
        core_shares=load.core_time.shares(),
    )


def measure_setting(
    samples: Sequence[Sample], scan: bytes, *, workers: int, growth: bool, seconds: float
) -> Row:
    """Measure so many workers on the first GPU, each with an equal share of its memory."""
    time.sleep(1)  # the memory of the last row's workers is free again by then
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
        until_rest = list(samples)
    return summarise(load, until_rest, workers=workers, growth=growth, before_mib=before_mib)


def print_report(console: Console, gpu: str, rows: Sequence[Row]) -> None:
    """Print the table, and whether the aim is reached."""
    console.print(f"[bold]{gpu}")
    print_machine(console)
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
    aim = bound_in_words(best, BUSY_AIM, at_least=True)
    console.print(f"busy {best:.2f} of the time; aimed at {aim}")


def plot(rows: Sequence[Row], path: Path) -> None:
    """Draw scans an hour, busy share and memory against the workers."""
    plt = pyplot()
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
    parser = option_parser(__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="window of each load")
    parser.add_argument("--quick", action="store_true", help="a small scan and short windows")
    add_output_option(parser)
    options = parser.parse_args()
    console = Console()
    if not torch.cuda.is_available():
        console.print("There is no GPU here that torch can use, so nothing was measured.")
        return
    gpu = torch.cuda.get_device_properties(0)
    seconds = 1.0 if options.quick else options.seconds
    scan = sample_scan(QUICK_SHAPE if options.quick else FULL_SHAPE)
    with gpu_samples(f"GPU-{gpu.uuid}") as samples:
        rows = [
            measure_setting(samples, scan, workers=workers, growth=growth, seconds=seconds)
            for workers, growth in ((1, False), *((count, True) for count in WORKERS))
        ]
    print_report(console, gpu.name, rows)
    numbers: dict[str, Any] = {"gpu": gpu.name, "seconds": seconds, "rows": list(map(asdict, rows))}
    written = write_json("gpu", numbers, options.output)
    plot(rows, written.with_suffix(".png"))
    console.print(f"written: {written}, {written.with_suffix('.png').name}")


if __name__ == "__main__":
    main()
