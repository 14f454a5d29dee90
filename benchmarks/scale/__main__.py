"""How many workers are worth having: ``python -m benchmarks.scale`` (or ``make bench-scale``).

Brings the service up for each number of workers and each batch size, and has locust send a
clinic's traffic (``locustfile.py``) for every number of users and spawn rate. A folder named for
the device gets locust's report of each run, ``summary.csv``, a plot, and ``scale.md``: the table,
and where the service saturates and what limits it in words. ``--host`` measures a service that
runs already, with the workers that it has; ``--resume`` leaves out what ``summary.csv`` has.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.scale.conclusion import conclusion, counted
from benchmarks.scale.options import combinations, read_options
from benchmarks.scale.report import HEADINGS, OFTEN_SHARED, cells, markdown, plot
from benchmarks.scale.rows import Combination, Row, read_summary, write_summary
from benchmarks.scale.run import Traffic, measure
from benchmarks.scale.services import (
    BringUp,
    Running,
    compose,
    device_name,
    local_stack,
    workers_of,
)
from shared.settings import Settings

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class Service(NamedTuple):
    """Where the service comes from, what it computes on, and what it is to be measured with."""

    bring_up: BringUp
    device: str
    workers: list[int]
    sizes: list[int | None]


def service(options: argparse.Namespace) -> Service:
    """Return the service that the options name.

    Raises:
        RuntimeError: ``--host`` names none that answers.
    """
    if options.host:
        host = options.host.rstrip("/")
        devices = workers_of(host)
        return Service(partial(already_running, host), devices[0], [len(devices)], [None])
    return Service(
        compose if options.compose else local_stack,
        device_name(),
        options.num_workers or [1, 2],
        options.max_batch_size or [Settings().max_batch_size],
    )


@contextmanager
def already_running(host: str, *_: int) -> Iterator[Running]:
    """Yield a service that somebody else runs, and leave it running."""
    here = urlsplit(host).hostname in _LOOPBACK
    yield Running(host, {} if here else None)


def run(
    wanted: Sequence[Combination],
    rows: list[Row],
    asked: Service,
    traffic: Traffic,
    folder: Path,
    console: Console,
) -> None:
    """Measure what is wanted, in order, and keep ``rows`` and ``summary.csv`` up with it.

    Raises:
        RuntimeError: The service or locust did not work.
    """
    sizes = {one.max_batch_size for one in [*wanted, *(row.combination for row in rows)]}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task("", total=len(wanted))
        for (workers, size), some in groupby(wanted, lambda one: (one.workers, one.max_batch_size)):
            progress.update(task, description=f"starting {counted(workers)}")
            with asked.bring_up(workers, size or 0) as running:
                for one in some:
                    progress.update(task, description=f"{counted(workers)}, {one.users} users")
                    stem = folder / one.stem(several_sizes=len(sizes) > 1)
                    rows.append(measure(running, one, traffic, device=asked.device, stem=stem))
                    rows.sort(key=lambda row: (row.max_batch_size or 0, *row.combination[:3]))
                    write_summary(rows, folder / "summary.csv")
                    progress.advance(task)


def print_report(console: Console, rows: Sequence[Row]) -> None:
    """Print the table and the conclusion; what all rows share stands below the table."""
    columns = list(zip(HEADINGS, *map(cells, rows), strict=True))
    shared = [one for one in columns if one[0] in OFTEN_SHARED and len(set(one[1:])) == 1]
    headings, *lines = zip(*(one for one in columns if one not in shared), strict=True)
    table = Table(*headings, box=SIMPLE_HEAD, padding=0)
    table.title = f"A clinic's traffic on {rows[0].device}"
    table.caption = ", ".join(f"{one[0]}: {one[1]}" for one in shared if one[1])
    for line in lines:
        table.add_row(*line)
    console.print(table)
    for sentence in conclusion(rows):
        console.print(f"- {sentence}", highlight=False)


def main() -> None:
    """Measure, print, write."""
    options, console = read_options(__doc__.splitlines()[0] if __doc__ else ""), Console()
    try:
        asked = service(options)
        folder = options.output / re.sub(r"[^\w.-]+", "-", asked.device).strip("-")
        folder.mkdir(parents=True, exist_ok=True)
        rows = read_summary(folder / "summary.csv") if options.resume else []
        wanted = combinations(options, asked.workers, asked.sizes)
        done = {row.combination for row in rows}
        left = [one for one in wanted if one not in done]
        if len(left) < len(wanted):
            console.print(f"{len(wanted) - len(left)} of {len(wanted)} runs were done before")
        traffic = Traffic(options.run_time, options.shapes, options.wait_limit)
        run(left, rows, asked, traffic, folder, console)
    except (RuntimeError, TimeoutError, ValueError) as error:
        sys.exit(str(error))
    print_report(console, rows)
    plot(rows, folder / "scale.png")
    (folder / "scale.md").write_text(markdown(rows))
    console.print(f"written: {folder}, summary.csv, scale.md, scale.png and a report of each run")


if __name__ == "__main__":
    main()
