"""The options of a scale run, and the combinations that follow from them."""

import argparse
import re
from collections.abc import Sequence
from itertools import product

from benchmarks.common.clinic import SHAPES
from benchmarks.common.machine import RESULTS
from benchmarks.common.output import add_output_option, option_parser
from benchmarks.scale.rows import Combination


def seconds(text: str) -> float:
    """Read a time as locust takes it: ``90``, ``90s``, ``1m30s`` or ``2h``.

    Raises:
        ValueError: It is not a time, or it is 0.
    """
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    hours, minutes, rest = (float(part or 0) for part in match.groups()) if match else (0, 0, 0)
    if not (total := 3600 * hours + 60 * minutes + rest):
        raise ValueError(f"{text} is not a time such as 90s or 1m30s")
    return total


def read_options(doc: str | None, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; explain and refuse options that contradict each other."""
    parser = option_parser(doc)
    parser.add_argument("--num-workers", type=int, nargs="+", help="default: 1 2")
    parser.add_argument("--num-users", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--spawn-rate", type=float, nargs="+", default=[4.0], help="users a second")
    size = "several show the gain of batching; default: the service's own"
    parser.add_argument("--max-batch-size", type=int, nargs="+", help=size)
    parser.add_argument("--run-time", type=seconds, default=60.0, help="of each run: 60s, 2m")
    parser.add_argument("--shapes", choices=sorted(SHAPES), default="large")
    parser.add_argument("--wait-limit", type=seconds, default=120.0, help="longer is a failure")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--host", help="URL of a service that is already running")
    where.add_argument("--compose", action="store_true", help="containers, not the local stack")
    parser.add_argument("--resume", action="store_true", help="skip the runs that summary.csv has")
    add_output_option(parser, RESULTS / "scale")
    options = parser.parse_args(arguments)
    counts = [*(options.num_workers or []), *options.num_users, *(options.max_batch_size or [])]
    if min([*counts, *options.spawn_rate]) <= 0:
        parser.error("workers, users, spawn rates and batch sizes are above 0")
    ramp_s = max(options.num_users) / min(options.spawn_rate)
    if ramp_s >= options.run_time:
        parser.error(f"--run-time must be above the {ramp_s:g} s that it takes to start all users")
    if options.host and (options.num_workers or options.max_batch_size):
        parser.error("a service that is already running has its own workers and batch size")
    return options


def combinations(
    options: argparse.Namespace, workers: Sequence[int], sizes: Sequence[int | None]
) -> list[Combination]:
    """Return every combination once, grouped by service."""
    return [
        Combination(count, users, rate, size)
        for size, count, users, rate in product(
            sorted(set(sizes), key=lambda size: size or 0),
            sorted(set(workers)),
            sorted(set(options.num_users)),
            sorted(set(options.spawn_rate)),
        )
    ]
