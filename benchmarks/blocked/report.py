"""The table of :mod:`benchmarks.blocked`."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.blocked.wave import Wave


def print_report(console: Console, waves: Sequence[Wave]) -> None:
    """Print the table."""
    table = Table("", *(wave.way for wave in waves), title="Clients blocked at once on one API")
    for name, form in (
        ("clients", "d"), ("workers", "d"), ("blocked_at_once", "d"), ("errors", "d"),
        ("p50_s", ".2f"), ("p95_s", ".2f"), ("woken_p50_ms", ".1f"), ("woken_p95_ms", ".1f"),
        ("all_blocked_s", ".2f"), ("all_answered_s", ".2f"), ("mb_idle", ".1f"),
        ("mb_blocked", ".1f"), ("mb_after", ".1f"), ("cores_while_blocked", ".3f"),
    ):  # fmt: skip
        values = [getattr(wave, name) for wave in waves]
        table.add_row(
            name.replace("_", " "), *("" if v is None else format(v, form) for v in values)
        )
    outcomes = [
        "\n".join(f"{count} x {outcome}" for outcome, count in wave.statuses.items())
        for wave in waves
    ]
    table.add_row("outcomes", *outcomes)
    console.print(table)
