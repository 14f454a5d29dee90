"""Tables of faults, in Markdown, and the picture of a soak."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.common.output import pyplot


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of faults, one row each."""
    lines = [
        "| fault | stage | held (s) | ready again (s) | bound (s) "
        "| accepted | refused | invariants |",
        "|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        ready = "never" if row["ready_s"] is None else f"{row['ready_s']:.1f}"
        violations = "; ".join(row["violations"]) or "hold"
        lines.append(
            f"| {row['fault']} | {row['stage']} | {row['held_s']:g} | {ready} | {row['bound_s']:g} "
            f"| {row['accepted']} | {row['refused']} | {violations} |"
        )
    return "\n".join(lines)


def by_fault(soak: Mapping[str, Any]) -> dict[str, list[float | None]]:
    """Return the seconds until ready again for each fault that came alone, and for pairs."""
    seconds: dict[str, list[float | None]] = {}
    for episode in soak["episodes"]:
        name = "two at once" if " + " in episode["fault"] else episode["fault"]
        seconds.setdefault(name, []).append(episode["ready_s"])
    return dict(sorted(seconds.items()))


def soak_markdown(soak: Mapping[str, Any]) -> str:
    """Return the result of a soak: its faults, its jobs, and the invariants at its end."""
    lines = [
        f"{len(soak['episodes'])} episodes of faults in {soak['seconds'] / 60:.1f} minutes, "
        f"seed {soak['seed']}.",
        "",
        "| fault | times | median until ready again (s) | worst (s) |",
        "|---|---:|---:|---:|",
    ]
    for name, seconds in by_fault(soak).items():
        known = [each_s for each_s in seconds if each_s is not None]
        middle = f"{median(known):.1f}" if known else "-"
        worst = f"{max(known):.1f}" if len(known) == len(seconds) else "never"
        lines.append(f"| {name} | {len(seconds)} | {middle} | {worst} |")
    outcomes = ", ".join(f"{jobs} with {count}" for count, jobs in soak["outcomes_per_job"].items())
    lines += [
        "",
        "| jobs accepted | finished | failed | canceled | lost | outcomes a job | refused calls |",
        "|---:|---:|---:|---:|---:|---|---:|",
        f"| {soak['accepted']} | {soak['done'].get('finished', 0)} "
        f"| {soak['done'].get('failed', 0)} | {soak['done'].get('canceled', 0)} "
        f"| {soak['lost']} | {outcomes} | {soak['refused']} |",
        "",
        *(f"Not injected, {count} x: {name}." for name, count in soak["not_injected"].items()),
        "Failed jobs are the scans that kill their worker." if soak["done"].get("failed") else "",
        "All five invariants hold." if not soak["violations"] else "Violations:",
        *(f"- {violation}" for violation in soak["violations"]),
    ]
    return "\n".join(lines) + "\n"


def plot(soak: Mapping[str, Any], path: Path) -> None:
    """Draw the scans that ended over time, with the faults, and the seconds until ready again."""
    plt = pyplot()
    faults = by_fault(soak)
    figure, (rates, spread) = plt.subplots(
        2, 1, figsize=(11, 5 + 0.22 * len(faults)), layout="constrained",
        height_ratios=(4, 2 + 0.22 * len(faults)),
    )  # fmt: skip
    bins = max(1, round(soak["seconds"] / 5))
    rates.hist(
        [at_s / 60 for at_s in soak["ended_s"]], bins=bins, range=(0, soak["seconds"] / 60),
        weights=[bins / soak["seconds"]] * len(soak["ended_s"]), color="#4878a8",
    )  # fmt: skip
    for episode in soak["episodes"]:
        span = (episode["began_s"] / 60, (episode["began_s"] + episode["held_s"]) / 60)
        rates.axvspan(*span, color="#c44e52", alpha=0.35, linewidth=0.5)
    rates.set(title="scans that ended, and faults (red)", xlabel="minutes", ylabel="scans/s")
    for place, seconds in enumerate(faults.values()):
        known = [each_s for each_s in seconds if each_s is not None]
        spread.plot(known, [place] * len(known), "o", color="#4878a8", markersize=4, alpha=0.6)
        if known:
            spread.plot(median(known), place, "|", color="black", markersize=12)
    spread.set_yticks(
        range(len(faults)), [f"{name} ({len(each)})" for name, each in faults.items()]
    )
    spread.invert_yaxis()
    spread.grid(axis="x", alpha=0.3)
    spread.set(title="seconds until ready again; the bar is the median", xlabel="s")
    spread.set_xlim(left=0)
    figure.savefig(path, dpi=120)
    plt.close(figure)
