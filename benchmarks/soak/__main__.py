"""Whether anything leaks: ``python -m benchmarks.soak --minutes 15`` (or ``make bench-soak``).

Clients keep ``voxelq up`` fully loaded for that long, with short rests between. Written are the
throughput between the rests, the errors, and how fast the memory of each process at rest grows
after a warm-up, in per cent of its memory under load an hour with half of the 95 % interval:
``soak.json``, ``soak_memory.csv`` and a plot. Exits with 1 if a scan failed.
"""

import argparse
import sys

from rich.console import Console

from benchmarks.common.clinic import SHAPES
from benchmarks.common.machine import write_json
from benchmarks.common.output import add_output_option, option_parser
from benchmarks.soak.memory import LEAST_RESTS
from benchmarks.soak.report import plot, print_report, write_memory
from benchmarks.soak.run import Plan, numbers, soak
from shared.allocator import KEEP_S

_LONGEST_WARM_UP_MIN = 5.0
#: After so long an idle process has returned its free memory to the system.
_REST_S = KEEP_S + 5


def _read_plan() -> tuple[Plan, argparse.Namespace]:
    parser = option_parser(__doc__)
    parser.add_argument("--minutes", type=float, default=15.0, help="of load, rests not counted")
    parser.add_argument("--warm-up-minutes", type=float, help="default: a third, 5 at most")
    parser.add_argument("--rests", type=int, default=15, help="in all, spread evenly")
    parser.add_argument("--rest-seconds", type=float, default=_REST_S, help="of each")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--clients", type=int, default=8, help="enough that no worker is idle")
    parser.add_argument("--shapes", choices=sorted(SHAPES), default="large")
    add_output_option(parser)
    options = parser.parse_args()
    warm_min = options.warm_up_minutes
    if warm_min is None:
        warm_min = min(_LONGEST_WARM_UP_MIN, options.minutes / 3)
    if not 0 <= warm_min < options.minutes or min(options.workers, options.clients) < 1:
        parser.error("minutes are above those of the warm-up, workers and clients above 0")
    # the rest that ends exactly with the warm-up does not count
    if options.rests * (1 - warm_min / options.minutes) < LEAST_RESTS or options.rest_seconds <= 0:
        parser.error(f"a slope takes {LEAST_RESTS} rests after the warm-up, each above 0 s")
    plan = Plan(
        minutes=options.minutes,
        warm_up_minutes=warm_min,
        rests=options.rests,
        rest_s=options.rest_seconds,
        workers=options.workers,
        clients=options.clients,
        shapes=options.shapes,
    )
    return plan, options


def main() -> int:
    """Measure, print, write; return the exit code."""
    (plan, options), console = _read_plan(), Console()
    soaked = soak(plan, console)
    print_report(console, soaked.slopes, soaked.stretches[-1], soaked.conclusion)
    written = write_json("soak", numbers(soaked), options.output)
    write_memory(soaked.samples, options.output / "soak_memory.csv")
    picture = written.with_suffix(".png")
    plot(soaked.stretches, soaked.samples, soaked.slopes, soaked.warm_s, picture)
    console.print(f"written: {written}, soak_memory.csv, soak.png")
    return 1 if soaked.errors else 0


if __name__ == "__main__":
    sys.exit(main())
