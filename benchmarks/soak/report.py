"""The report of a soak: sentences, a table, its CSV and a plot."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.common.output import pyplot
from benchmarks.soak.memory import LIMIT_PERCENT, Sample, Slope, Stretch


def sentences(
    slopes: Mapping[str, Slope], not_permanent: Sequence[str], errors: Mapping[str, int], scans: int
) -> list[str]:
    """Return which processes leak, which were not there all the time, and what failed."""
    return [*_leaks(slopes), *_not_permanent(not_permanent), *_errors(errors, scans)]


def _leaks(slopes: Mapping[str, Slope]) -> list[str]:
    words = []
    for name, slope in slopes.items():
        if slope.conclusion == "grows":
            words.append(
                f"{name} leaks, or had not settled after the warm-up: it grows by "
                f"{in_words(slope)}, {slope.mb_per_hour:.1f} MB of {slope.mean_mb:.0f}."
            )
    unclear = [
        f"{name} ({in_words(slope)})"
        for name, slope in slopes.items()
        if slope.conclusion == "unclear"
    ]
    if unclear:
        words.append(f"Too short for a conclusion on {', '.join(unclear)}: run a longer soak.")
    if not words:
        words.append(
            f"Nothing leaks: none of {len(slopes)} processes grows by {LIMIT_PERCENT:g} % an hour."
        )
    return words


def _not_permanent(names: Sequence[str]) -> list[str]:
    if not names:
        return []
    return [f"Started or ended during the soak, and have no slope: {', '.join(names)}."]


def _errors(errors: Mapping[str, int], scans: int) -> list[str]:
    if not errors:
        return [f"No error in {scans} scans."]
    reasons = "; ".join(f"{count} x {reason}" for reason, count in sorted(errors.items()))
    return [f"{sum(errors.values())} errors beside {scans} scans that finished: {reasons}."]


def in_words(slope: Slope) -> str:
    """Return a slope with its uncertainty."""
    return f"{slope.percent_per_hour:.2f} ± {slope.uncertainty:.2f} % an hour"


def print_report(
    console: Console, slopes: Mapping[str, Slope], last: Stretch, conclusion: Sequence[str]
) -> None:
    """Print the slopes and what they mean."""
    columns = ("process", "MB under load", "at rest", "% an hour", "conclusion")
    table = Table(*columns, title="Resident memory after warm-up")
    for name, slope in slopes.items():
        at_rest = f"{last.at_rest_mb[name]:.1f}"
        table.add_row(name, f"{slope.mean_mb:.1f}", at_rest, in_words(slope), slope.conclusion)
    console.print(table)
    for sentence in conclusion:
        console.print(f"- {sentence}", highlight=False)


def write_memory(samples: Sequence[Sample], path: Path) -> None:
    """Write every sample of the memory in MB; the cell of a process that did not run is empty."""
    names = sorted({name for sample in samples for name in sample.mb})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["at_s", *names])
        writer.writeheader()
        for sample in samples:
            mb = {name: round(value, 3) for name, value in sample.mb.items()}
            writer.writerow({"at_s": sample.at_s, **mb})


def plot(
    stretches: Sequence[Stretch],
    samples: Sequence[Sample],
    slopes: Mapping[str, Slope],
    warm_s: float,
    path: Path,
) -> None:
    """Draw throughput, memory over time, and the growth of memory at rest since the warm-up."""
    plt = pyplot()
    figure, (rates, memory, growth) = plt.subplots(
        3, 1, figsize=(10, 9), sharex=True, layout="constrained", height_ratios=(1, 2, 2)
    )
    for stretch in stretches:
        middle = (stretch.began_s + stretch.ended_s) / 120
        rates.bar(middle, stretch.scans / stretch.seconds, stretch.seconds / 60, color="#4878a8")
    rates.set(title="throughput between rests", ylabel="scans/s")
    after = [stretch for stretch in stretches if stretch.began_s >= warm_s]
    for name, slope in slopes.items():
        at_rest_mb = after[0].at_rest_mb[name]
        memory.plot(
            [sample.at_s / 60 for sample in samples],
            [sample.mb.get(name, float("nan")) for sample in samples],
            label=f"{name}: {slope.mean_mb:.0f} MB under load, {at_rest_mb:.0f} at rest",
            linewidth=1,
        )
        growth.plot(
            [stretch.ended_s / 60 for stretch in after],
            [stretch.at_rest_mb[name] - at_rest_mb for stretch in after],
            marker="o",
            markersize=3,
        )
    memory.set(title="resident memory", ylabel="MB", yscale="log")
    growth.set(
        title="growth at rest since the warm-up (dotted)", xlabel="minutes", ylabel="MB more"
    )
    for panel in (rates, memory):
        panel.axvline(warm_s / 60, color="grey", linestyle=":")
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)
