"""The tables and the plot of :mod:`benchmarks.batching`."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.batching.policies import POLICIES
from benchmarks.batching.run import COSTS, LOADS, TRAFFIC, Row, Traffic, against_best
from benchmarks.common.output import pyplot


def print_table(console: Console, traffic: Traffic, cases: list[list[Row]]) -> None:
    """Print one traffic's table: mean / p99 latency, batch size, and VoxelQ against the best."""
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
    """Draw latencies of each policy as multiples of the best: independent scans, and bursts."""
    plt = pyplot()
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
