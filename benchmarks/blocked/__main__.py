"""What a thousand blocked clients cost: ``python -m benchmarks.blocked`` (``make bench-blocked``).

The workers of ``voxelq up`` are stopped until every client is blocked on the one API process, so
that all clients are blocked at once. Then the workers are resumed, and each client must get its own
result. Reported are the memory and core time of the API while all clients wait, the time from the
end of a job to its client's response, and the responses. Exits with 1 if a client got no result.
"""

import asyncio
import sys
from dataclasses import asdict

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.blocked.clients import allow_files
from benchmarks.blocked.report import print_report
from benchmarks.blocked.wave import SHAPE, WAIT_S, wave
from benchmarks.common.machine import write_json
from benchmarks.common.output import add_output_option, option_parser
from benchmarks.common.services import voxelq


def main() -> None:
    """Measure, print, write."""
    parser = option_parser(__doc__)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument(
        "--way", choices=["predict", "wait"], nargs="+", default=["predict", "wait"]
    )
    add_output_option(parser)
    options = parser.parse_args()
    if min(options.clients, options.workers) < 1:
        parser.error("clients and workers are above 0")
    console = Console()
    try:
        allow_files(options.clients)
    except ValueError as error:
        parser.error(str(error))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    settings = {"VOXELQ_MAX_WAIT_S": str(WAIT_S), "VOXELQ_MAX_QUEUED": str(2 * options.clients)}
    with (
        voxelq(options.workers, **settings) as service,
        Progress(*columns, TimeElapsedColumn(), console=console) as progress,
    ):
        waves = [asyncio.run(wave(service, options.clients, way, progress)) for way in options.way]
    print_report(console, waves)
    numbers = {"shape": SHAPE, "arithmetic": service.arithmetic, "waves": [*map(asdict, waves)]}
    console.print(f"written: {write_json('blocked', numbers, options.output)}")
    sys.exit(1 if any(wave.errors for wave in waves) else 0)


if __name__ == "__main__":
    main()
