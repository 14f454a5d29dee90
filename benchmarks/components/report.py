"""The numbers and tables of :mod:`benchmarks.components`."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.common.output import print_machine
from benchmarks.common.percentiles import percentile
from benchmarks.components.load import PARTS, WHOLES, Round

#: The largest allowed difference between the sum of the parts and the whole, as a share.
BOUND = 0.05


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Return mean, median, 90th, 95th and 99th percentile and standard deviation."""
    return {
        "mean": statistics.fmean(seconds),
        "median": statistics.median(seconds),
        **{f"p{share}": percentile(seconds, share) for share in (90, 95, 99)},
        "std": statistics.pstdev(seconds),
    }


def round_numbers(done: Round) -> dict[str, Any]:
    """Return the numbers of a round; its ``shares`` and ``rest`` add up to 1."""
    spreads = {
        name: spread([sample.seconds[name] for sample in done.samples])
        for name in (*PARTS, *WHOLES)
    }
    whole_s = spreads["end_to_end"]["mean"]
    shares = {name: spreads[name]["mean"] / whole_s for name in PARTS}
    rest = 1 - sum(shares.values())
    return {
        "protocol": done.protocol,
        "clients": done.clients,
        "requests": len(done.samples),
        "scans_per_s": len(done.samples) / done.seconds,
        "batches": _batches(done),
        "seconds": spreads,
        "shares": shares,
        "rest": rest,
        "adds_up": abs(rest) <= BOUND,
        "end_to_end_s": sorted(sample.seconds["end_to_end"] for sample in done.samples),
    }


def _batches(done: Round) -> dict[str, dict[str, float]]:
    """Return for each batch size its number of scans and the mean time that the worker took."""
    by_size: dict[int, list[float]] = defaultdict(list)
    for sample in done.samples:
        by_size[sample.batch_size].append(sample.seconds["worker"])
    return {
        str(size): {"scans": len(seconds), "mean_s": statistics.fmean(seconds)}
        for size, seconds in sorted(by_size.items())
    }


def label(numbers: dict[str, Any]) -> str:
    """Return the name of a round in the report."""
    many = numbers["clients"] > 1
    return f"{numbers['protocol']}, {numbers['clients']} client{'s' if many else ''}"


def print_report(console: Console, numbers: dict[str, Any]) -> None:
    """Print the machine, a table for every round, and whether its parts add up."""
    service = numbers["service"]
    print_machine(console)
    shape = "x".join(map(str, numbers["scan"]["shape"]))
    console.print(
        f"one scan of {shape} voxels, {numbers['scan']['bytes'] / 1e6:.1f} MB; "
        f"{service['workers']} worker(s) on {service['device']} with {service['lanes']} lane(s)"
    )
    for measured in numbers["rounds"]:
        console.print(_table(measured))
        console.print(
            f"{label(measured)}: {measured['scans_per_s']:.2f} scans/s; the parts add up to "
            f"{100 * (1 - measured['rest']):.1f} % of the whole: "
            + ("within" if measured["adds_up"] else "[red]not within[/red]")
            + f" {100 * BOUND:.0f} %"
        )


def _table(measured: dict[str, Any]) -> Table:
    table = Table("", "mean", "median", "p90", "p95", "p99", "std", "share %")
    table.title = f"{label(measured)}: {measured['requests']} calls, in ms"
    for name in (*PARTS, *WHOLES):
        if name == WHOLES[0]:
            table.add_section()
        cells = (f"{1000 * value:.1f}" for value in measured["seconds"][name].values())
        share = f"{100 * measured['shares'][name]:.1f}" if name in PARTS else ""
        table.add_row(name.replace("_", " "), *cells, share)
    return table
