"""Whether anything leaks: ``python -m benchmarks.soak --minutes 15`` (or ``make bench-soak``).

Clients keep ``voxelq up`` full for that long. Written are the throughput over time, what failed,
and the resident memory of every process of the service with its slope after a warm-up, in per cent
an hour with the half of a 95 % interval: ``soak.json``, ``soak_memory.csv`` and a plot. Ends with 1
if a scan failed.
"""

import argparse
import csv
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks.clinic import SHAPES, clinic_scans
from benchmarks.machine import RESULTS, write_json
from benchmarks.services import Service, voxelq
from benchmarks.soak_load import Tally, full_load
from benchmarks.soak_memory import Family, Sample, Slope, passing, slopes
from benchmarks.soak_report import in_words, plot, sentences, throughput

_BUCKETS = 30
_LONGEST_WARM_UP_MIN = 5.0
#: Looks at the memory: one a second, or more of them where the soak is short.
_LOOK_S, _LEAST_LOOKS = 1.0, 60


def watch(
    service: Service, tally: Tally, clients: int, window_s: float, console: Console
) -> tuple[float, list[Sample]]:
    """Look at the memory until the time is over; return when it began, and what was seen.

    The time begins once as many scans are done, or failed, as there are clients.
    """
    (supervisor,) = service.parts["supervisor"]
    family, samples = Family(supervisor), list[Sample]()
    look_s = min(_LOOK_S, window_s / _LEAST_LOOKS)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("the first scans", total=window_s)
        while len(tally.done_s) + sum(tally.errors.values()) < clients:
            time.sleep(look_s)
        began_s = time.perf_counter()
        while (now_s := time.perf_counter() - began_s) < window_s:
            samples.append(Sample(now_s, family.memory_mb()))
            words = f"{len(tally.done_s)} scans, {sum(tally.errors.values())} errors"
            progress.update(task, completed=now_s, description=words)
            time.sleep(look_s)
    return began_s, samples


def print_report(console: Console, found: dict[str, Slope], said: Sequence[str]) -> None:
    """Print the slopes and what they mean."""
    table = Table("process", "MB", "% an hour", "verdict", title="Resident memory after warm-up")
    for name, one in found.items():
        table.add_row(name, f"{one.mean_mb:.1f}", in_words(one), one.verdict)
    console.print(table)
    for sentence in said:
        console.print(f"- {sentence}", highlight=False)


def write_memory(samples: Sequence[Sample], path: Path) -> None:
    """Write every look at the memory, in MB; empty where a process was not there."""
    names = sorted({name for sample in samples for name in sample.mb})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["at_s", *names])
        writer.writeheader()
        for sample in samples:
            mb = {name: round(value, 3) for name, value in sample.mb.items()}
            writer.writerow({"at_s": round(sample.at_s, 3), **mb})


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--warm-up-minutes", type=float, help="default: a third, 5 at most")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--clients", type=int, default=8, help="enough that no worker is idle")
    parser.add_argument("--shapes", choices=sorted(SHAPES), default="large")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for what is written")
    options = parser.parse_args()
    window_s = 60 * options.minutes
    warm_min = options.warm_up_minutes
    if warm_min is None:
        warm_min = min(_LONGEST_WARM_UP_MIN, options.minutes / 3)
    if not 0 <= warm_min < options.minutes or min(options.workers, options.clients) < 1:
        parser.error("minutes are above those of the warm-up, workers and clients above 0")
    console = Console()
    scans = clinic_scans(options.shapes)
    with (
        voxelq(options.workers) as service,
        full_load(service.url.removesuffix("/predict"), scans, options.clients) as tally,
    ):
        began_s, samples = watch(service, tally, options.clients, window_s, console)
    settled = [sample for sample in samples if sample.at_s >= 60 * warm_min]
    done_s = [at_s - began_s for at_s in tally.done_s if 0 <= at_s - began_s < window_s]
    found, rates = slopes(settled), throughput(done_s, window_s, _BUCKETS)
    said = sentences(found, passing(settled), tally.errors, len(done_s))
    numbers: dict[str, Any] = {
        "minutes": options.minutes,
        "warm_up_minutes": warm_min,
        "workers": options.workers,
        "clients": options.clients,
        "shapes": options.shapes,
        "arithmetic": service.arithmetic,
        "scans": len(done_s),
        "scans_per_s": len(done_s) / window_s,
        "throughput": rates,
        "errors": dict(tally.errors),
        "processes": {name: asdict(one) | {"verdict": one.verdict} for name, one in found.items()},
        "passing": passing(settled),
        "conclusion": said,
    }
    print_report(console, found, said)
    written = write_json("soak", numbers, options.output)
    write_memory(samples, options.output / "soak_memory.csv")
    plot(samples, rates, window_s, 60 * warm_min, written.with_suffix(".png"))
    console.print(f"written: {written}, soak_memory.csv, soak.png")
    sys.exit(1 if tally.errors else 0)


if __name__ == "__main__":
    main()
