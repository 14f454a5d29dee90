"""What a scale run is asked to do: its options, and the combinations that follow from them."""

import argparse
import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from benchmarks.common.clinic import SHAPES
from benchmarks.common.machine import RESULTS
from benchmarks.scale.rows import Combination


def seconds(text: str) -> float:
    """Read a time as locust takes it: ``90``, ``90s``, ``1m30s`` or ``2h``.

    Raises:
        ValueError: It is none, or no time at all.
    """
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    hours, minutes, rest = (float(part or 0) for part in found.groups()) if found else (0, 0, 0)
    if not (total := 3600 * hours + 60 * minutes + rest):
        raise ValueError(f"{text} is no time such as 90s or 1m30s")
    return total


def read_options(description: str, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; what makes no sense is refused in words."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--num-workers", type=int, nargs="+", help="default: 1 2")
    parser.add_argument("--num-users", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--spawn-rate", type=float, nargs="+", default=[4.0], help="users a second")
    size = "several show what batching brings; default: the service's own"
    parser.add_argument("--max-batch-size", type=int, nargs="+", help=size)
    parser.add_argument("--run-time", type=seconds, default=60.0, help="of each run: 60s, 2m")
    parser.add_argument("--shapes", choices=sorted(SHAPES), default="large")
    parser.add_argument("--wait-limit", type=seconds, default=120.0, help="longer is a failure")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--host", help="URL of a service that runs already")
    where.add_argument("--compose", action="store_true", help="containers, not the local stack")
    parser.add_argument("--resume", action="store_true", help="leave out what summary.csv has")
    parser.add_argument("--output", type=Path, default=RESULTS / "scale")
    options = parser.parse_args(arguments)
    counts = [*(options.num_workers or []), *options.num_users, *(options.max_batch_size or [])]
    if min([*counts, *options.spawn_rate]) <= 0:
        parser.error("workers, users, spawn rates and batch sizes are above 0")
    ramp_s = max(options.num_users) / min(options.spawn_rate)
    if ramp_s >= options.run_time:
        parser.error(f"--run-time must be above the {ramp_s:g} s that it takes all users to come")
    if options.host and (options.num_workers or options.max_batch_size):
        parser.error("a service that runs already has its own workers and batch size")
    return options


def combinations(
    options: argparse.Namespace, workers: Sequence[int], sizes: Sequence[int | None]
) -> list[Combination]:
    """Return every combination once, those of one service after each other."""
    return [
        Combination(count, users, rate, size)
        for size, count, users, rate in product(
            sorted(set(sizes), key=lambda size: size or 0),
            sorted(set(workers)),
            sorted(set(options.num_users)),
            sorted(set(options.spawn_rate)),
        )
    ]
