"""The whole work of one scan in plain calls, without a service around it.

``python -m benchmarks.common.bare SCAN`` reads lines such as ``{"threads": 2, "seconds": 5}``. For
each it processes the scan in a loop of that length and prints a line with the cost of one scan.
"""

import json
import logging
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, NamedTuple

from ulid import ULID

from benchmarks.common.output import option_parser
from shared.allocator import keep_memory
from shared.bundles.available_models import AvailableModels
from shared.bundles.catalog import ModelCatalog
from shared.bundles.contents import BundleContents
from shared.jobs import Stage
from shared.results import Timings
from shared.settings import Settings
from shared.storage.store import ScanStore
from shared.telemetry import configure_logging
from shared.volumes.mask_writer import mask_bytes
from shared.volumes.reader import read_volume
from worker.device.compute_options import ComputeOptions
from worker.device.select import set_threads
from worker.metrics.stage_timer import StageTimer
from worker.models.loader import load_predictor
from worker.pipeline.preview import preview_png
from worker.volume.postprocess import Segmentation

#: A loop goes on until it has done so many scans: a median of fewer means nothing.
LEAST_SCANS = 3


class BareResult(NamedTuple):
    """The segmentation of one scan, and how long each stage took."""

    segmentation: Segmentation
    timings: Timings

    @property
    def volume_ml(self) -> float:
        """Return the volume of all labels of the mask."""
        return sum(label.volume_ml for label in self.segmentation.labels)

    def as_job(self) -> dict[str, Any]:
        """Return those members of a job that the clients of the benchmarks read."""
        return {
            "timings_s": self.timings.model_dump(),
            "result": {"tumor": {"volume_ml": self.volume_ml}},
        }


class WholeScan:
    """Reads, computes and writes one scan after another, with the default model, as a worker does.

    Args:
        folder: Where masks and pictures are written.

    Raises:
        VoxelQError: The default model cannot be run on this machine.
    """

    def __init__(self, folder: Path) -> None:
        keep_memory()
        settings = Settings()
        self._max_voxels = settings.max_voxels
        self._store = ScanStore(f"file://{folder}")
        self._predictor = load_predictor(
            _default_bundle(settings),
            ComputeOptions(device=settings.device, precision=settings.precision),
        )
        self._predictor.warm_up()

    @property
    def arithmetic(self) -> str:
        """Return how the network computes: what its warm-up measured to be fastest."""
        mode = self._predictor.compute_mode
        return f"{mode.precision}, {mode.memory_format}"

    def run(self, scan: IO[bytes], threads: int) -> BareResult:
        """Process one scan on ``threads`` cores; any thread may call it."""
        set_threads(threads)
        now, clock, name = datetime.now(UTC), StageTimer(), ScanStore.folder(str(ULID()))
        with clock.stage(Stage.LOAD):
            volume = read_volume(scan, max_voxels=self._max_voxels)
            plain = volume.header.slope == 1 and volume.header.inter == 0
            data = volume.data if plain else volume.scaled()
        affine = volume.header.affine
        with clock.stage(Stage.PREPROCESS):
            prepared = self._predictor.preprocess([(data, affine)])
        with clock.stage(Stage.INFERENCE):
            (prediction,) = self._predictor.predict([prepared])
        with clock.stage(Stage.POSTPROCESS):
            segmentation = self._predictor.postprocess(prepared, prediction)
        with clock.stage(Stage.STORE):
            picture = preview_png(data, segmentation.mask, affine)
            self._store.write(f"{name}/mask.nii.gz", mask_bytes(segmentation.mask, volume.header))
            self._store.write(f"{name}/preview.png", picture)
        return BareResult(segmentation, clock.timings(now, now))


def _default_bundle(settings: Settings) -> BundleContents:
    bundles = ModelCatalog(settings.models_dirs).bundles()
    card = AvailableModels(bundles, {}, settings.default_model).resolve()
    return BundleContents.read(card.folder)


def loop(work: WholeScan, scan: Path, *, threads: int, seconds: float) -> dict[str, Any]:
    """Process the scan in a loop for ``seconds``; return the cost of one (medians, in seconds).

    ``core_s`` is the core time of the process divided by the number of scans.
    """
    done: list[BareResult] = []
    began, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds or len(done) < LEAST_SCANS:
        with scan.open("rb") as file:
            done.append(work.run(file, threads))
    wall_s, core_s = time.perf_counter() - began, time.process_time() - cpu
    stages = [result.timings.model_dump() for result in done]
    return {
        "scans": len(done),
        "scans_per_s": len(done) / wall_s,
        "core_s": core_s / len(done),
        "stages_s": {
            name: statistics.median(one[name] for one in stages) for name in (*Stage, "total")
        },
        "volume_ml": done[-1].volume_ml,
        "arithmetic": work.arithmetic,
    }


def main() -> None:
    """Load the model, print ``ready``, and answer requests until the input ends."""
    parser = option_parser(__doc__)
    parser.add_argument("scan", type=Path)
    scan = parser.parse_args().scan
    configure_logging("bench", level=logging.ERROR)  # standard output is for the results
    with tempfile.TemporaryDirectory() as folder:
        work = WholeScan(Path(folder))
        print("ready", flush=True)
        for line in sys.stdin:
            print(json.dumps(loop(work, scan, **json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
