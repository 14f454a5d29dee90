"""Whether anything leaks: ``python -m benchmarks.soak --minutes 15`` (or ``make bench-soak``).

Clients keep ``voxelq up`` full for that long, with short rests between. Written are the throughput
of every stretch, what failed, and how the memory that each process of the service holds at rest
grows after a warm-up, in per cent of its memory under load an hour with the half of a 95 %
interval: ``soak.json``, ``soak_memory.csv`` and a plot. Ends with 1 if a scan failed.
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

from benchmarks.common.clinic import SHAPES, clinic_scans
from benchmarks.common.machine import RESULTS, write_json
from benchmarks.common.services import Service, voxelq
from benchmarks.soak.load import Load, full_load
from benchmarks.soak.memory import (
    LEAST_RESTS,
    Family,
    Sample,
    Slope,
    Stretch,
    passing,
    settled,
    slopes,
)
from benchmarks.soak.report import in_words, plot, sentences
from shared.allocator import KEEP_S

_LONGEST_WARM_UP_MIN = 5.0
#: Looks at the memory: one a second, or more of them where the soak is short.
_LOOK_S, _LEAST_LOOKS = 1.0, 60
#: Until an idle process has given back what lies free.
_REST_S = KEEP_S + 5


def watch(
    service: Service,
    load: Load,
    *,
    clients: int,
    rests: int,
    stretch_s: float,
    rest_s: float,
    console: Console,
) -> tuple[list[Stretch], list[Sample]]:
    """Look at the memory until all rests are over; return what was seen.

    The time begins once as many scans are done, or failed, as there are clients.
    """
    (supervisor,) = service.parts["supervisor"]
    family, samples, stretches = Family(supervisor), list[Sample](), list[Stretch]()
    look_s = min(_LOOK_S, rests * stretch_s / _LEAST_LOOKS, rest_s / 2)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())

    def look(seconds: float) -> None:
        until_s = time.perf_counter() + seconds
        while (now_s := time.perf_counter()) < until_s:
            samples.append(Sample(now_s - began_s, family.memory_mb()))
            words = f"{len(load.done_s)} scans, {sum(load.errors.values())} errors"
            progress.update(task, completed=now_s - began_s, description=words)
            time.sleep(min(look_s, max(0.0, until_s - time.perf_counter())))

    with Progress(*columns, console=console) as progress:
        task = progress.add_task("the first scans", total=rests * (stretch_s + rest_s))
        while load.seen < clients:
            time.sleep(look_s)
        began_s = time.perf_counter()
        for _ in range(rests):
            from_s, before = time.perf_counter(), len(load.done_s)
            look(stretch_s)
            with load.rest():
                to_s = time.perf_counter()
                scans = len(load.done_s) - before
                look(rest_s)
                stretches.append(Stretch(from_s - began_s, to_s - began_s, scans, samples[-1].mb))
    return stretches, samples


def print_report(
    console: Console, found: dict[str, Slope], last: Stretch, said: Sequence[str]
) -> None:
    """Print the slopes and what they mean."""
    columns = ("process", "MB under load", "at rest", "% an hour", "verdict")
    table = Table(*columns, title="Resident memory after warm-up")
    for name, one in found.items():
        at_rest = f"{last.at_rest_mb[name]:.1f}"
        table.add_row(name, f"{one.mean_mb:.1f}", at_rest, in_words(one), one.conclusion)
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
            writer.writerow({"at_s": sample.at_s, **mb})


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=15.0, help="of load, rests not counted")
    parser.add_argument("--warm-up-minutes", type=float, help="default: a third, 5 at most")
    parser.add_argument("--rests", type=int, default=15, help="in all, spread evenly")
    parser.add_argument("--rest-seconds", type=float, default=_REST_S, help="of each")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--clients", type=int, default=8, help="enough that no worker is idle")
    parser.add_argument("--shapes", choices=sorted(SHAPES), default="large")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for what is written")
    options = parser.parse_args()
    warm_min = options.warm_up_minutes
    if warm_min is None:
        warm_min = min(_LONGEST_WARM_UP_MIN, options.minutes / 3)
    if not 0 <= warm_min < options.minutes or min(options.workers, options.clients) < 1:
        parser.error("minutes are above those of the warm-up, workers and clients above 0")
    # one of them may lie on the border
    if options.rests * (1 - warm_min / options.minutes) < LEAST_RESTS or options.rest_seconds <= 0:
        parser.error(f"a slope takes {LEAST_RESTS} rests after the warm-up, each above 0 s")
    console = Console()
    scans = clinic_scans(options.shapes)
    with (
        voxelq(options.workers) as service,
        full_load(service.url.removesuffix("/predict"), scans, options.clients) as load,
    ):
        stretches, samples = watch(
            service,
            load,
            clients=options.clients,
            rests=options.rests,
            stretch_s=60 * options.minutes / options.rests,
            rest_s=options.rest_seconds,
            console=console,
        )
    after = settled(stretches, 60 * warm_min)
    seen = [sample for sample in samples if sample.at_s >= after[0].began_s]
    found, done = slopes(after, seen), sum(one.scans for one in stretches)
    said = sentences(found, passing(seen), load.errors, done)
    numbers: dict[str, Any] = {
        "minutes": options.minutes,
        "warm_up_minutes": warm_min,
        "rest_seconds": options.rest_seconds,
        "workers": options.workers,
        "clients": options.clients,
        "shapes": options.shapes,
        "arithmetic": service.arithmetic,
        "scans": done,
        "scans_per_s": done / sum(one.seconds for one in stretches),
        "stretches": [asdict(one) for one in stretches],
        "errors": dict(load.errors),
        "processes": {
            name: asdict(one) | {"verdict": one.conclusion} for name, one in found.items()
        },
        "passing": passing(seen),
        "conclusion": said,
    }
    print_report(console, found, stretches[-1], said)
    written = write_json("soak", numbers, options.output)
    write_memory(samples, options.output / "soak_memory.csv")
    plot(stretches, samples, found, after[0].began_s, written.with_suffix(".png"))
    console.print(f"written: {written}, soak_memory.csv, soak.png")
    sys.exit(1 if load.errors else 0)


if __name__ == "__main__":
    main()
