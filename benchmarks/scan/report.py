"""The tables and the plot of :mod:`benchmarks.scan`."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.common.output import bound_in_words, print_machine, pyplot

#: The aims by the names of the ratios: the bound, whether it is a lower bound, and its meaning.
AIMS = {
    "idle_p50_s": (1.0, False, "s from submit to result with one client (p50)"),
    "idle_over_bare": (1.3, False, "times the bare work"),
    "load_over_can_do": (0.9, True, "of what the cores can do, under load"),
}


def print_report(console: Console, numbers: dict[str, Any]) -> None:
    """Print the machine, the tables and whether the aims are reached."""
    bare = numbers["bare"]
    print_machine(console, numbers["cores"])
    shape = "x".join(map(str, numbers["scan"]["shape"]))
    console.print(
        f"one {shape} int16 .nii.gz of {numbers['scan']['bytes'] / 1e6:.1f} MB; "
        f"{bare['one_thread']['core_s']:.3f} core-seconds in a plain loop, so the cores can do "
        f"{bare['can_do_scans_per_s']:.2f} scans/s; "
        f"loops side by side reach {bare['side_by_side_scans_per_s']:.2f}"
    )
    console.print(
        f"the network computes in {bare['one_thread']['arithmetic']}, "
        f"in VoxelQ in {numbers['systems'][0]['arithmetic']}"
    )
    console.print(_stages(numbers))
    console.print(_throughput(numbers))
    console.print(_core_time(numbers))
    ratios = numbers["ratios"]
    for name, (bound, at_least, words) in AIMS.items():
        aim = bound_in_words(ratios[name], bound, at_least=at_least)
        console.print(f"{ratios[name]:.2f} {words}; aimed at {aim}")
    console.print(
        f"{ratios['idle_over_read_network_write']:.2f} times read + network + write alone; "
        f"{ratios['load_over_side_by_side']:.2f} of the loops side by side"
    )


def _stages(numbers: dict[str, Any]) -> Table:
    ours = numbers["systems"][0]
    rows = {
        f"bare, {numbers['cores']} threads": numbers["bare"]["all_threads"]["stages_s"],
        "bare, one thread": numbers["bare"]["one_thread"]["stages_s"],
        "VoxelQ, one client": ours["idle"]["stages_s"],
        f"VoxelQ, {numbers['clients']} clients": ours["load"]["stages_s"],
    }
    names = list(ours["idle"]["stages_s"])
    table = Table("", *names, title="Stages in ms (bare: median, served: mean)")
    for row, stages in rows.items():
        cells = (f"{1000 * stages[name]:.0f}" if name in stages else "" for name in names)
        table.add_row(row, *cells)
    return table


def _throughput(numbers: dict[str, Any]) -> Table:
    table = Table(
        "",
        "idle p50 ms",
        "p95",
        "x bare",
        "loaded scans/s",
        "x the cores",
        "p50 ms",
        "p95",
        "peak MB",
        title=f"POST /predict: one client, and {numbers['clients']} in a loop",
    )
    bare = numbers["bare"]
    for row in numbers["systems"]:
        idle, load = row["idle"], row["load"]
        table.add_row(
            row["name"],
            f"{1000 * idle['p50_s']:.0f}",
            f"{1000 * idle['p95_s']:.0f}",
            f"{idle['p50_s'] / bare['all_threads']['stages_s']['total']:.2f}",
            f"{load['scans_per_s']:.2f}",
            f"{load['scans_per_s'] / bare['can_do_scans_per_s']:.2f}",
            f"{1000 * load['p50_s']:.0f}",
            f"{1000 * load['p95_s']:.0f}",
            f"{sum(row['peak_mb'].values()):.0f}",
        )
    return table


def _core_time(numbers: dict[str, Any]) -> Table:
    names = _parts(numbers)
    table = Table(
        "",
        *names,
        "idle %",
        "others %",
        title="Under load: core-seconds of one scan by process, and the rest of the core time",
    )
    for row in numbers["systems"]:
        load = row["load"]
        cells = (f"{load['core_s'][name]:.3f}" if name in load["core_s"] else "" for name in names)
        left = (f"{100 * load['core_shares'][name]:.0f}" for name in ("idle", "others"))
        table.add_row(row["name"], *cells, *left)
    return table


def _parts(numbers: dict[str, Any]) -> list[str]:
    """Return the names of the processes of all systems, sorted by core time, largest first."""
    largest: dict[str, float] = {}
    for row in numbers["systems"]:
        for name, seconds in row["load"]["core_s"].items():
            largest[name] = max(largest.get(name, 0.0), seconds)
    return sorted(largest, key=largest.__getitem__, reverse=True)


def plot(numbers: dict[str, Any], path: Path) -> None:
    """Draw throughput, the wait of a single client, and the core time of each process."""
    plt = pyplot()
    systems, bare = numbers["systems"], numbers["bare"]
    names = [row["name"].replace(", ", ",\n") for row in systems]
    colours = ["#c8643c", *["#4878a8"] * (len(systems) - 1)]
    figure, axes = plt.subplots(1, 3, figsize=(14, 4.2), sharey=True, layout="constrained")
    rates = [row["load"]["scans_per_s"] for row in systems]
    # inside the bars, because the lines of what can be done are close to their ends
    inside = {"label_type": "center", "color": "white", "fontweight": "bold"}
    axes[0].bar_label(axes[0].barh(names, rates, color=colours), fmt="%.2f", **inside)
    axes[0].axvline(bare["can_do_scans_per_s"], color="black", label="what the cores can do")
    axes[0].axvline(
        bare["side_by_side_scans_per_s"], color="black", linestyle=":", label="loops side by side"
    )
    axes[0].margins(x=0.15)
    axes[0].set(title=f"{numbers['clients']} clients in a loop", xlabel="scans/s")
    waits = [1000 * row["idle"]["p50_s"] for row in systems]
    axes[1].bar_label(axes[1].barh(names, waits, color=colours), fmt="%.0f", **inside)
    total_ms = 1000 * bare["all_threads"]["stages_s"]["total"]
    axes[1].axvline(total_ms, color="black", label="bare work, all threads")
    axes[1].margins(x=0.15)
    axes[1].set(title="one client at a time", xlabel="ms from submit to result (p50)")
    begins = [0.0] * len(systems)
    for part in [*_parts(numbers), "idle", "others"]:
        shares = [
            row["load"]["core_shares"].get(part, 0.0)
            * numbers["cores"]
            / row["load"]["scans_per_s"]
            for row in systems
        ]
        colour = {"idle": "#dddddd", "others": "#888888"}.get(part)
        axes[2].barh(names, shares, left=begins, label=part, color=colour)
        begins = [begin + share for begin, share in zip(begins, shares, strict=True)]
    axes[2].axvline(bare["one_thread"]["core_s"], color="black", label="plain loop")
    axes[2].set(title="core time under load", xlabel="core-seconds for one scan")
    axes[0].invert_yaxis()
    for axis in axes:
        axis.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=4)
    figure.savefig(path, dpi=120)
