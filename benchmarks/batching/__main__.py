"""Forming batches, simulated: ``python -m benchmarks.batching`` (or ``make bench-batching``).

VoxelQ's policy beside a fixed window, Triton's rule and BentoML's, on the same arrivals and the
same costs: mean and 99th percentile of latency, and throughput, at loads from 20 to 120 % of what
the workers can do. The simulator is :mod:`planning.simulation`; no network is run.
"""

from dataclasses import asdict
from typing import Any

from rich.console import Console

from benchmarks.batching.report import plot, print_table
from benchmarks.batching.run import (
    COSTS,
    LOADS,
    MAX_SIZE,
    NOISE,
    TRAFFIC,
    Row,
    measure,
    worst_against_best,
)
from benchmarks.common.machine import write_json
from benchmarks.common.output import add_output_option, option_parser, print_machine


def main() -> None:
    """Simulate, print, write."""
    parser = option_parser(__doc__)
    parser.add_argument("--scans", type=int, default=50_000, help="scans for each run")
    add_output_option(parser)
    options = parser.parse_args()
    console = Console()
    print_machine(console)
    console.print(f"batches up to {MAX_SIZE}; BentoML's rule has no window")
    cases: list[list[Row]] = []
    for traffic in TRAFFIC:
        rows = [measure(traffic, cost, load, options.scans) for cost in COSTS for load in LOADS]
        print_table(console, traffic, rows)
        cases += rows
    worst = worst_against_best(cases)
    for name, (ratio, where) in worst.items():
        console.print(f"at its worst, {name} x {ratio:.3f} of the best other: {where}")
    numbers: dict[str, Any] = {
        "max_size": MAX_SIZE,
        "noise": NOISE,
        "scans": options.scans,
        "costs": {name: asdict(cost) for name, cost in COSTS.items()},
        "loads": LOADS,
        "worst_against_best": worst,
        "rows": [asdict(row) for rows in cases for row in rows],
    }
    written = write_json("batching", numbers, options.output)
    plot(cases, written.with_suffix(".png"))
    console.print(f"written: {written}, {written.with_suffix('.png').name}")


if __name__ == "__main__":
    main()
