"""The scale matrix for people: a Markdown table with its conclusion, and a plot."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from benchmarks.common.machine import machine
from benchmarks.scale.conclusion import Line, conclusion, lines, name
from benchmarks.scale.rows import Row

HEADINGS = (
    "workers", "users", "spawn rate", "batch up to", "jobs", "failed", "scans/s", "p50 s", "p95 s",
    "in queue s", "batch", "workers busy %", "cores idle %", "others %",
    "locust cores",
)  # fmt: skip
#: Columns that a narrow terminal is spared where all rows say the same.
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


def markdown(rows: Sequence[Row]) -> str:
    """Return what was measured on what, the table, and the conclusion in words."""
    facts = machine()
    shapes, run_times = {row.shapes for row in rows}, {f"{row.run_time_s:g}" for row in rows}
    text = [
        f"# VoxelQ on {rows[0].device}: scans a second by workers and users",
        f"{facts['cpu']}, {facts['cores']} cores, {facts['system']}, Python {facts['python']}, "
        f"{facts['at']}. {' and '.join(sorted(shapes)).capitalize()} scans of five shapes, "
        f"{' and '.join(sorted(run_times))} s a run, counted from when all users were there.",
        *(f"- {sentence}" for sentence in conclusion(rows)),
        "![Throughput, time to result and speed-up](scale.png)",
    ]
    table = [HEADINGS, ["---"] * len(HEADINGS), *(cells(row) for row in rows)]
    blocks = "\n\n".join(text).replace("\n\n- ", "\n- ").replace("there.\n- ", "there.\n\n- ")
    return blocks + "\n\n" + "\n".join(f"| {' | '.join(one)} |" for one in table) + "\n"


def plot(rows: Sequence[Row], path: Path) -> None:
    """Draw throughput and times against users, and speed-up against workers."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    found = lines(rows)
    sizes = sorted({line.max_batch_size or 0 for line in found})
    workers = sorted({line.workers for line in found})
    figure, axes = plt.subplots(1, 3, figsize=(14, 4), layout="constrained")
    rate, times, speed = axes
    for line in found:
        look: dict[str, Any] = {
            "color": f"C{workers.index(line.workers) % 10}",
            "marker": _MARKERS[sizes.index(line.max_batch_size or 0) % len(_MARKERS)],
            "label": name(line, several_sizes=len(sizes) > 1),
        }
        users = [row.users for row in line.rows]
        rate.plot(users, [row.jobs_per_s for row in line.rows], **look)
        timed = [row for row in line.rows if row.p50_s is not None]
        users = [row.users for row in timed]
        times.plot(users, [row.p50_s for row in timed], **look)
        times.plot(users, [row.p95_s for row in timed], **{**look, "label": None}, linestyle="--")
    for size, marker in zip(sizes, cycle(_MARKERS), strict=False):
        same = [line for line in found if (line.max_batch_size or 0) == size]
        _plot_speed_up(speed, same, marker)
    speed.plot(workers, [count / workers[0] for count in workers], color="grey", linestyle=":")
    rate.set(title="throughput", xlabel="users", ylabel="scans/s", ylim=(0, None))
    times.set(title="time to result: p50, p95 dashed", xlabel="users", ylabel="s", ylim=(0, None))
    speed.set(title="speed-up (dotted: in full)", xlabel="workers", ylim=(0, None), xticks=workers)
    rate.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _plot_speed_up(axis: Any, found: Sequence[Line], marker: str) -> None:
    few = found[0].best.jobs_per_s
    if few:
        axis.plot(
            [line.workers for line in found],
            [line.best.jobs_per_s / few for line in found],
            marker=marker,
            color="black",
        )


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
