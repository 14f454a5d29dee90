"""All runs of a scale matrix, in order, with a summary that is up to date after each."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.scale.conclusion import counted
from benchmarks.scale.rows import Combination, Row, write_summary
from benchmarks.scale.run import Traffic, measure
from benchmarks.scale.services import Measured


def run_matrix(
    wanted: Sequence[Combination],
    rows: list[Row],
    measured: Measured,
    traffic: Traffic,
    folder: Path,
    console: Console,
) -> None:
    """Measure the wanted combinations; add each row to ``rows`` and to ``summary.csv``.

    Raises:
        RuntimeError: The service or locust failed.
    """
    combinations = [*wanted, *(row.combination for row in rows)]
    several_sizes = len({each.max_batch_size for each in combinations}) > 1
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task("", total=len(wanted))
        for (workers, size), group in groupby(wanted, lambda c: (c.workers, c.max_batch_size)):
            progress.update(task, description=f"starting {counted(workers)}")
            with measured.start(workers, size or 0) as running:
                for combination in group:
                    progress.update(
                        task, description=f"{counted(workers)}, {combination.users} users"
                    )
                    stem = folder / combination.stem(several_sizes=several_sizes)
                    row = measure(running, combination, traffic, device=measured.device, stem=stem)
                    rows.append(row)
                    rows.sort(key=lambda row: (row.max_batch_size or 0, *row.combination[:3]))
                    write_summary(rows, folder / "summary.csv")
                    progress.advance(task)
