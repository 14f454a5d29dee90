"""The picture of :mod:`benchmarks.components`: four panels, each with all rounds."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.output import pyplot
from benchmarks.components.load import PARTS, WHOLES
from benchmarks.components.report import label


def plot(numbers: dict[str, Any], path: Path) -> None:
    """Draw the breakdown, mean against p95, every part's share, and the latencies' distribution."""
    plt = pyplot()
    # the upper panels hold a bar and its number for every part of every round
    figure, axes = plt.subplots(2, 2, figsize=(13, 12), height_ratios=(7, 4), layout="constrained")
    shape = "x".join(map(str, numbers["scan"]["shape"]))
    service = numbers["service"]
    title = f"a scan of {shape} voxels, {service['workers']} worker(s), {service['device']}"
    rounds = numbers["rounds"]
    _breakdown(axes[0][0], rounds)
    _mean_against_p95(axes[0][1], rounds)
    _shares(axes[1][0], rounds)
    _distribution(axes[1][1], rounds)
    # one legend for the three panels that give each round its colour, outside all of them
    bars, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(
        bars, labels, loc="outside upper center", ncols=len(rounds), title=title, frameon=False
    )
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _breakdown(axis: Any, rounds: list[dict[str, Any]]) -> None:
    names = (*PARTS, *WHOLES)
    height = 0.84 / len(rounds)
    for number, measured in enumerate(rounds):
        means = [1000 * measured["seconds"][name]["mean"] for name in names]
        places = np.arange(len(names)) + (number - (len(rounds) - 1) / 2) * height
        bars = axis.barh(places, means, height, label=label(measured))
        axis.bar_label(bars, fmt="%.1f", padding=3, fontsize="x-small")
    axis.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axis.invert_yaxis()
    axis.margins(x=0.12, y=0.01)
    axis.set(title="what each part takes", xlabel="ms (mean)")


def _mean_against_p95(axis: Any, rounds: list[dict[str, Any]]) -> None:
    names = (*PARTS, "end_to_end")
    for number, measured in enumerate(rounds):
        places = np.arange(len(names)) + (number - (len(rounds) - 1) / 2) * 0.25
        means, highs = (
            [1000 * max(0.0, measured["seconds"][name][key]) for name in names]
            for key in ("mean", "p95")
        )
        axis.hlines(places, means, highs, color=f"C{number}", linewidth=2)
        axis.plot(means, places, "o", color=f"C{number}")
        axis.plot(highs, places, "|", color=f"C{number}", markersize=10)
    axis.set_xscale("symlog", linthresh=1)
    axis.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axis.invert_yaxis()
    axis.margins(y=0.02)
    axis.grid(axis="x", alpha=0.3)
    axis.set(title="mean (dot) and 95th percentile (bar)", xlabel="ms, on a logarithmic scale")


def _shares(axis: Any, rounds: list[dict[str, Any]]) -> None:
    names = [label(measured).replace(", ", ",\n") for measured in rounds]
    begins = np.zeros(len(rounds))
    for number, part in enumerate((*PARTS, "rest")):
        shares = [
            measured["rest"] if part == "rest" else measured["shares"][part] for measured in rounds
        ]
        widths = 100 * np.maximum(shares, 0)
        colour = "#cccccc" if part == "rest" else f"C{number}"
        axis.barh(names, widths, left=begins, label=part, color=colour)
        begins += widths
    axis.invert_yaxis()
    axis.set(title="share of each part", xlabel="% of the time from end to end")
    axis.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=5)


def _distribution(axis: Any, rounds: list[dict[str, Any]]) -> None:
    for measured in rounds:
        axis.ecdf([1000 * seconds for seconds in measured["end_to_end_s"]])
    axis.set(title="latency", xlabel="ms from end to end", ylabel="share of the calls")
    axis.grid(alpha=0.3)
