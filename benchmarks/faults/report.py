"""Tables of faults, in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows of the table of faults."""
    lines = [
        "| fault | stage | held (s) | ready again (s) | bound (s) | accepted | refused | truths |",
        "|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        ready = "never" if row["ready_s"] is None else f"{row['ready_s']:.1f}"
        truths = "; ".join(row["violations"]) or "hold"
        lines.append(
            f"| {row['fault']} | {row['stage']} | {row['held_s']:g} | {ready} | {row['bound_s']:g} "
            f"| {row['accepted']} | {row['refused']} | {truths} |"
        )
    return "\n".join(lines)
