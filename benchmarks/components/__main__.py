"""Where a scan's time goes, part by part: ``python -m benchmarks.components``.

One scan is handed in many times to ``POST /predict``, by one client in a loop and then by several.
The service tells in ``Server-Timing`` what its parts took; what is left of the client's own time
above the server's is the network's share, so no two clocks are compared. Without ``--rest-url``
the local stack is brought up for it, with one worker.

What it writes is what ``voxelq plan --measured`` reads.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from benchmarks.common.machine import RESULTS, write_json
from benchmarks.common.sample_scan import sample_scan
from benchmarks.common.services import voxelq
from benchmarks.components.load import NotMeasured, Rest, measure, service_facts
from benchmarks.components.plot import plot
from benchmarks.components.report import print_report, round_numbers

SHAPE = (256, 256, 128)


@contextmanager
def rest(url: str | None, scan: bytes) -> Iterator[Rest]:
    """Yield the service at ``url``, or a local one that ends with the block."""
    if url is not None:
        yield Rest(url.rstrip("/"), scan)
        return
    with voxelq(1) as service:
        yield Rest(service.url.removesuffix("/predict"), scan)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure every round; return what is written.

    Raises:
        NotMeasured: The service refused a scan, failed it, or cannot be reached.
        OSError: The image cannot be read.
    """
    scan = options.image.read_bytes() if options.image else sample_scan(SHAPE)
    with rest(options.rest_url, scan) as protocol:
        rounds = [
            measure(protocol, requests=options.requests, clients=clients)
            for clients in options.concurrency
        ]
        facts = service_facts(protocol.url)
    return {
        "scan": {"bytes": len(scan), "shape": rounds[0].shape},
        "settings": {k: v for k, v in os.environ.items() if k.startswith("VOXELQ_")},
        "service": {"local": options.rest_url is None, **facts},
        "rounds": [round_numbers(one) for one in rounds],
    }


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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--image", type=Path, help="a .nii or .nii.gz; default: 256x256x128")
    parser.add_argument("--rest-url", help="the service to measure; default: one of its own")
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
        numbers = run(options)
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
