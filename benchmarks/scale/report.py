"""The report of a scale matrix: tables with their conclusion, and a plot."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.common.machine import machine
from benchmarks.common.output import pyplot
from benchmarks.scale.conclusion import Line, conclusion, lines, name
from benchmarks.scale.rows import Row

HEADINGS = (
    "workers", "users", "spawn rate", "batch up to", "jobs", "failed", "scans/s", "p50 s", "p95 s",
    "in queue s", "batch", "workers busy %", "cores idle %", "others %",
    "locust cores",
)  # fmt: skip
#: Columns that are left out of the printed table where all rows have the same value.
OFTEN_SHARED = {"spawn rate", "batch up to", "failed", "others %"}
#: One for each batch size.
_MARKERS = "os^Dv"


def cells(row: Row) -> list[str]:
    """Return a row as text, in the order of `HEADINGS`."""
    return [
        str(row.workers),
        str(row.users),
        f"{row.spawn_rate:g}",
        _shown(row.max_batch_size, "d"),
        str(row.jobs),
        str(row.job_failures),
        f"{row.jobs_per_s:.2f}",
        _shown(row.p50_s, ".2f"),
        _shown(row.p95_s, ".2f"),
        _shown(row.queue_p50_s, ".2f"),
        _shown(row.batch_mean, ".2f"),
        _shown(row.workers_busy, ".0%").rstrip("%"),
        _shown(row.cores_idle, ".0%").rstrip("%"),
        _shown(row.others, ".0%").rstrip("%"),
        _shown(row.client_cores, ".2f"),
    ]


def print_report(console: Console, rows: Sequence[Row]) -> None:
    """Print the table and the conclusion; values that all rows share are below the table."""
    columns = list(zip(HEADINGS, *map(cells, rows), strict=True))
    shared = [
        column for column in columns if column[0] in OFTEN_SHARED and len(set(column[1:])) == 1
    ]
    headings, *lines = zip(*(column for column in columns if column not in shared), strict=True)
    table = Table(*headings, box=SIMPLE_HEAD, padding=0)
    table.title = f"A clinic's traffic on {rows[0].device}"
    table.caption = ", ".join(f"{column[0]}: {column[1]}" for column in shared if column[1])
    for line in lines:
        table.add_row(*line)
    console.print(table)
    for sentence in conclusion(rows):
        console.print(f"- {sentence}", highlight=False)


def markdown(rows: Sequence[Row]) -> str:
    """Return what was measured on what, the table, and the conclusion."""
    facts = machine()
    shapes, run_times = {row.shapes for row in rows}, {f"{row.run_time_s:g}" for row in rows}
    text = [
        f"# VoxelQ on {rows[0].device}: scans a second by workers and users",
        f"{facts['cpu']}, {facts['cores']} cores, {facts['system']}, Python {facts['python']}, "
        f"{facts['at']}. {' and '.join(sorted(shapes)).capitalize()} scans of five shapes, "
        f"{' and '.join(sorted(run_times))} s a run, counted from when all users had started.",
        *(f"- {sentence}" for sentence in conclusion(rows)),
        "![Throughput, time to result and speed-up](scale.png)",
    ]
    table = [HEADINGS, ["---"] * len(HEADINGS), *(cells(row) for row in rows)]
    blocks = "\n\n".join(text).replace("\n\n- ", "\n- ").replace("started.\n- ", "started.\n\n- ")
    return blocks + "\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in table) + "\n"


def plot(rows: Sequence[Row], path: Path) -> None:
    """Draw throughput and times against users, and speed-up against workers."""
    plt = pyplot()
    measured = lines(rows)
    sizes = sorted({line.max_batch_size or 0 for line in measured})
    workers = sorted({line.workers for line in measured})
    figure, axes = plt.subplots(1, 3, figsize=(14, 4), layout="constrained")
    rate, times, speed = axes
    for line in measured:
        style: dict[str, Any] = {
            "color": f"C{workers.index(line.workers) % 10}",
            "marker": _MARKERS[sizes.index(line.max_batch_size or 0) % len(_MARKERS)],
            "label": name(line, several_sizes=len(sizes) > 1),
        }
        users = [row.users for row in line.rows]
        rate.plot(users, [row.jobs_per_s for row in line.rows], **style)
        timed = [row for row in line.rows if row.p50_s is not None]
        users = [row.users for row in timed]
        times.plot(users, [row.p50_s for row in timed], **style)
        times.plot(users, [row.p95_s for row in timed], **{**style, "label": None}, linestyle="--")
    for size, marker in zip(sizes, cycle(_MARKERS), strict=False):
        same = [line for line in measured if (line.max_batch_size or 0) == size]
        _plot_speed_up(speed, same, marker)
    speed.plot(workers, [count / workers[0] for count in workers], color="grey", linestyle=":")
    rate.set(title="throughput", xlabel="users", ylabel="scans/s", ylim=(0, None))
    times.set(title="time to result: p50, p95 dashed", xlabel="users", ylabel="s", ylim=(0, None))
    speed.set(title="speed-up (dotted: linear)", xlabel="workers", ylim=(0, None), xticks=workers)
    rate.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _plot_speed_up(axis: Any, measured: Sequence[Line], marker: str) -> None:
    fewest = measured[0].best.jobs_per_s
    if fewest:
        axis.plot(
            [line.workers for line in measured],
            [line.best.jobs_per_s / fewest for line in measured],
            marker=marker,
            color="black",
        )


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
