"""The table and the picture of :mod:`benchmarks.plan_check`."""

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.common.output import print_machine, pyplot

#: The largest difference between simulated and real numbers that is aimed at, as a share.
AIM = 0.15
#: The figures that are compared, by name.
COMPARED = {
    "mean_s": "mean time to the result, s",
    "p95_s": "95th percentile, s",
    "scans_per_s": "scans/s",
}


def worst(rows: list[dict[str, Any]]) -> float:
    """Return the largest difference, as a share of the real number."""
    ratios = [float(ratio) for row in rows for ratio in row["ratios"].values()]
    return max(abs(ratio - 1) for ratio in ratios)


def print_report(console: Console, numbers: dict[str, Any]) -> None:
    """Print the machine, and the real and simulated numbers of each load."""
    print_machine(console)
    table = Table("load", "scans", "", "mean s", "p95 s", "scans/s", "batch")
    table.title = f"{numbers['workers']} worker(s) under independent scans"
    for row in numbers["loads"]:
        head = (f"{100 * row['utilisation']:.0f} %", str(row["scans"]))
        for name in ("real", "simulated"):
            table.add_row(*head, name, *(f"{value:.3f}" for value in row[name].values()))
            head = ("", "")
        ratios = (f"x {ratio:.3f}" for ratio in row["ratios"].values())
        table.add_row("", "", "simulated / real", *ratios, end_section=True)
    console.print(table)
    for row in numbers["loads"]:
        cost = row["measured"]
        busy_s = cost["busy_outside_s"]
        busy = f" ({busy_s:.3f} s under load)" if busy_s is not None else ""
        speeds = ", ".join(f"{speed:.2f}" for speed in cost["lanes"]["speedups"])
        console.print(
            f"measured around {100 * row['utilisation']:.0f} %: "
            f"{cost['cost']['fixed_s'] + cost['cost']['per_scan_s']:.3f} s for a scan alone, "
            f"{cost['outside_s']:.3f} s outside{busy}, lanes together do {speeds} of one"
        )
    off = worst(numbers["loads"])
    reached = "reached" if off <= AIM else "missed"
    console.print(f"at most {100 * off:.1f} % off; aimed at {100 * AIM:.0f} %: {reached}")


def plot(numbers: dict[str, Any], path: Path) -> None:
    """Draw real and simulated mean, 95th percentile and throughput against the load."""
    plt = pyplot()
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    rows = numbers["loads"]
    loads = [100 * row["utilisation"] for row in rows]
    for axis, (name, words) in zip(axes, COMPARED.items(), strict=True):
        real = np.array([row["real"][name] for row in rows])
        axis.plot(loads, real, "o-", label="real")
        axis.plot(loads, [row["simulated"][name] for row in rows], "s--", label="simulated")
        axis.fill_between(
            loads, (1 - AIM) * real, (1 + AIM) * real, alpha=0.15, label=f"{100 * AIM:.0f} %"
        )
        axis.set(title=words, xlabel="load, % of what the workers can do", ylim=(0, None))
    axes[0].legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)
