"""Hostile inputs against a running API: ``python -m benchmarks.hostile --count 10000 --seed 1``.

A real API process on loopback, with a Valkey of its own and no worker, gets mutated scans, gzips,
forms, JSON, HTTP heads, job records and models. It must respond to each without an error of its own
(503 and 507 are about its surroundings), stay alive within its memory, and store nothing. Exits
with 1 if it does not. The same seed sends the same bytes.
"""

import asyncio
import sys
from dataclasses import asdict
from typing import Any

from benchmarks.common.machine import write_json
from benchmarks.common.output import add_output_option, option_parser
from benchmarks.hostile.attacks import ATTACKS
from benchmarks.hostile.run import run_attacks
from benchmarks.hostile.tally import markdown
from benchmarks.hostile.target import running_api


def main() -> int:
    """Run the attacks, write the numbers, and return 1 if there was a fault."""
    parser = option_parser(__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="inputs in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", choices=list(ATTACKS), default=list(ATTACKS))
    add_output_option(parser)
    options = parser.parse_args()
    with running_api() as target:
        tally = asyncio.run(run_attacks(target, options.count, options.seed, options.kinds))
    numbers: dict[str, Any] = {**asdict(tally), "faults": tally.faults}
    write_json("hostile", numbers, options.output)
    (options.output / "hostile.md").write_text(markdown(tally))
    sys.stdout.write(markdown(tally))
    return int(bool(tally.faults))


if __name__ == "__main__":
    sys.exit(main())
