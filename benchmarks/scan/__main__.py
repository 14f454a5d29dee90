"""What a whole scan costs, end to end: ``python -m benchmarks.scan`` (or ``make bench-scan``).

One 256x256x128 int16 ``.nii.gz``, the default model, all cores of this machine or ``--cores``. In
one run: the bare work in one process; ``POST /predict`` of ``voxelq up`` with one worker, first
with one client and then with four; and the same for peers built from stock parts
(:mod:`benchmarks.common.peers`). What the cores can do is cores divided by the core-seconds of a
scan's whole work in a plain loop on one thread. API, Redis and clients run on the same cores; the
report says how much core time each of them used.

For comparison, on two cores and the same kind of work, as a share of what the cores can do:
BentoML 1.4.39 0.70, Ray Serve 2.60 0.70, LitServe 0.2.19 0.46.
"""

import os

from rich.console import Console

from benchmarks.common.core_time import use_cores
from benchmarks.common.machine import write_json
from benchmarks.common.output import add_output_option, option_parser
from benchmarks.scan.report import plot, print_report
from benchmarks.scan.run import run


def main() -> None:
    """Measure, print, write."""
    parser = option_parser(__doc__)
    parser.add_argument("--cores", type=int, default=0, help="cores to use; 0: all")
    parser.add_argument("--seconds", type=float, default=30.0, help="window of each load")
    parser.add_argument("--quick", action="store_true", help="a small scan and short windows")
    add_output_option(parser)
    options = parser.parse_args()
    try:
        cores = use_cores(options.cores)
    except ValueError as error:
        parser.error(str(error))
    os.environ["VOXELQ_DEVICE"] = "cpu"
    numbers = run(cores=cores, seconds=options.seconds, quick=options.quick)
    console = Console()
    print_report(console, numbers)
    written = write_json("scan", numbers, options.output)
    plot(numbers, written.with_suffix(".png"))
    console.print(f"written: {written}, {written.with_suffix('.png').name}")


if __name__ == "__main__":
    main()
