"""Where a scan's time goes, part by part: ``python -m benchmarks.components``.

One scan is submitted many times to ``POST /predict``, first by one client in a loop and then by
several. The service reports in ``Server-Timing`` how long its parts took. The rest of the client's
own time is the share of the network, so that the clocks of two machines are never compared. Without
``--rest-url`` the local stack is started with one worker.

``voxelq plan --measured`` reads the JSON that this writes.
"""

import argparse
import sys
from pathlib import Path

import httpx
from rich.console import Console

from benchmarks.common.machine import RESULTS, write_json
from benchmarks.common.output import option_parser
from benchmarks.common.sample_scan import FULL_SHAPE, sample_scan
from benchmarks.components.load import NotMeasured
from benchmarks.components.plot import plot
from benchmarks.components.report import print_report
from benchmarks.components.run import run


def _json_file(text: str) -> Path:
    path = Path(text)
    if path.suffix != ".json":
        raise argparse.ArgumentTypeError("its name must end with .json")
    return path


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("it must be a whole number above 0")
    return int(text)


def main() -> None:
    """Measure, print, write."""
    parser = option_parser(__doc__)
    parser.add_argument("--image", type=Path, help="a .nii or .nii.gz; default: 256x256x128")
    parser.add_argument("--rest-url", help="the service to measure; default: a local one")
    parser.add_argument("--requests", type=_count, default=30, help="of each round, at least")
    parser.add_argument(
        "--concurrency",
        type=_count,
        nargs="+",
        default=[1, 4, 16],
        help="clients, a round for each",
    )
    parser.add_argument("--output-json", type=_json_file, default=RESULTS / "components.json")
    parser.add_argument("--output-plot", type=Path, help="default: beside the JSON")
    options = parser.parse_args()
    try:
        scan = options.image.read_bytes() if options.image else sample_scan(FULL_SHAPE)
        numbers = run(
            scan, options.rest_url, requests=options.requests, concurrency=options.concurrency
        )
    except (NotMeasured, httpx.InvalidURL) as error:
        sys.exit(f"nothing was measured: {error}")
    except OSError as error:
        sys.exit(f"nothing was measured: {error.strerror or error}")
    console = Console()
    print_report(console, numbers)
    written = write_json(options.output_json.stem, numbers, options.output_json.parent)
    picture = options.output_plot or written.with_suffix(".png")
    picture.parent.mkdir(parents=True, exist_ok=True)
    plot(numbers, picture)
    console.print(f"written: {written}, {picture}", soft_wrap=True)


if __name__ == "__main__":
    main()
