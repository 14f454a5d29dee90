"""Whether `voxelq plan` is right: ``python -m benchmarks.plan_check``.

In one run on this machine, scans arrive at independent times at several loads, and each load is
simulated with the same times of arrival. Before and after each load the cost of a scan is measured
as ``benchmarks.components`` does, because the speed of a machine changes. Mean, 95th percentile and
throughput of the real and the simulated run are compared.
"""

import sys
from pathlib import Path

from rich.console import Console

from benchmarks.common.machine import write_json
from benchmarks.common.output import add_output_option, option_parser
from benchmarks.common.sample_scan import FULL_SHAPE, sample_scan
from benchmarks.components.load import NotMeasured
from benchmarks.plan_check.report import plot, print_report
from benchmarks.plan_check.run import run

LOADS = (0.4, 0.6, 0.8)


def main() -> None:
    """Measure, print, write."""
    parser = option_parser(__doc__)
    parser.add_argument("--image", type=Path, help="a .nii or .nii.gz; default: 256x256x128")
    parser.add_argument("--workers", type=int, default=1, help="of the local stack")
    parser.add_argument(
        "--requests", type=int, default=30, help="of each round of a calibration, at least"
    )
    parser.add_argument("--loads", type=float, nargs="+", default=LOADS, help="between 0 and 1")
    parser.add_argument("--seconds", type=float, default=240.0, help="of each load")
    add_output_option(parser)
    options = parser.parse_args()
    if not all(0 < load < 1 for load in options.loads):
        parser.error("a load must be between 0 and 1")
    try:
        scan = options.image.read_bytes() if options.image else sample_scan(FULL_SHAPE)
        numbers = run(
            scan,
            workers=options.workers,
            requests=options.requests,
            loads=options.loads,
            seconds=options.seconds,
        )
    except NotMeasured as error:
        sys.exit(f"nothing was checked: {error}")
    except OSError as error:
        sys.exit(f"nothing was checked: {error.strerror or error}")
    console = Console()
    print_report(console, numbers)
    written = write_json("plan_check", numbers, options.output)
    plot(numbers, written.with_suffix(".png"))
    console.print(f"written: {written}, {written.with_suffix('.png').name}", soft_wrap=True)


if __name__ == "__main__":
    main()
