"""Scans of different shapes: ``python -m benchmarks.mixed`` (or ``make bench-mixed``).

A stream of four shapes in turn beside the same scans sorted by shape, through the worker's pipeline
with all its lanes: scans a second, and their ratio, for the default model, for a network on whole
volumes and for one on windows. Then the network alone: windows of several scans in shared passes
beside scan by scan.
"""

import logging
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from redis import Redis
from rich.console import Console
from rich.table import Table
from ulid import ULID

from benchmarks.common.machine import write_json
from benchmarks.common.model_folders import VERSION
from benchmarks.common.output import add_output_option, option_parser, print_machine, pyplot
from benchmarks.common.redis_server import embedded_redis
from benchmarks.common.sample_scan import sample_scan
from benchmarks.common.small_bundles import WHOLE, WINDOWS, write_bundles
from benchmarks.common.submissions import new_submission
from shared.bundles.contents import BundleContents
from shared.settings import Settings
from shared.storage.store import ScanStore
from shared.telemetry import configure_logging
from shared.volumes.reader import read_volume
from worker.device.compute_options import ComputeOptions
from worker.models.cache import open_model_cache
from worker.models.loader import load_predictor
from worker.pipeline.outcomes import Finished, LeasedJob
from worker.pipeline.pipeline import Pipeline

#: Different shapes of about the same number of voxels.
SHAPES = ((160, 160, 96), (128, 192, 100), (160, 120, 128), (240, 128, 80))
SMALL_SHAPES = ((80, 80, 48), (64, 96, 50), (80, 60, 64), (120, 64, 40))

console = Console()


class Bench:
    """A pipeline in this process, with one scan of each shape in its store."""

    def __init__(self, settings: Settings, shapes: Sequence[tuple[int, int, int]]) -> None:
        self._store = ScanStore(settings.store_url)
        self._redis = Redis.from_url(settings.redis_url)
        self._pipeline = Pipeline(settings, open_model_cache(settings, self._redis, "bench"))
        self._batch = settings.max_batch_size
        self._keys = []
        for shape in shapes:
            key = self._store.scan_key(str(ULID()), "scan", gzipped=True)
            self._store.write(key, sample_scan(shape))
            self._keys.append(key)

    @property
    def loaded(self) -> str:
        """``name@version`` of the model that is loaded; at first, the default one."""
        return self._pipeline.model

    def close(self) -> None:
        """End the pipeline's threads."""
        self._pipeline.close()
        self._redis.close()

    def rate(self, model: str, order: Sequence[int]) -> float:
        """Return scans a second of a stream, in batches, with one batch at a time in every lane.

        Args:
            model: ``name@version``.
            order: The index of each scan's shape.
        """
        leased_jobs = [self._leased(model, self._keys[index]) for index in order]
        firsts = range(0, len(leased_jobs), self._batch)
        batches = [leased_jobs[first : first + self._batch] for first in firsts]
        self._pipeline.prepare(model)
        began = time.perf_counter()
        with ThreadPoolExecutor(self._pipeline.lanes) as lanes:
            list(lanes.map(self._serve, batches))
        seconds = time.perf_counter() - began
        for leased in leased_jobs:
            self._pipeline.discard(leased)
        return len(leased_jobs) / seconds

    def _serve(self, leased_jobs: list[LeasedJob]) -> None:
        outcomes = self._pipeline.run(leased_jobs, "bench", lambda _: False)
        if not all(isinstance(outcome, Finished) for outcome in outcomes):
            raise RuntimeError("a scan did not finish, so nothing was measured")

    @staticmethod
    def _leased(model: str, key: str) -> LeasedJob:
        submission = new_submission(model, key)
        return LeasedJob(submission, execution="bench", queue="bench", losses=0)


def mixed_against_sorted(bench: Bench, model: str, each: int, rounds: int) -> dict[str, Any]:
    """Return the median rates of both orders of the same scans, and the median of their ratios."""
    in_turn = [*range(len(SHAPES))] * each
    bench.rate(model, in_turn[: len(SHAPES)])  # the first scans of a process cost more
    pairs = [
        (bench.rate(model, in_turn), bench.rate(model, sorted(in_turn))) for _ in range(rounds)
    ]
    return {
        "model": model,
        "scans": len(in_turn),
        "mixed_scans_per_s": statistics.median(mixed for mixed, _ in pairs),
        "one_shape_scans_per_s": statistics.median(separate for _, separate in pairs),
        "ratio": statistics.median(mixed / separate for mixed, separate in pairs),
    }


def windows_across_scans(
    bundle: Path, shapes: Sequence[tuple[int, int, int]], rounds: int
) -> dict[str, float]:
    """Return the scans a second of the network alone: with shared passes, and scan by scan."""
    predictor = load_predictor(BundleContents.read(bundle), ComputeOptions())
    predictor.warm_up()
    with tempfile.TemporaryDirectory() as folder:
        store = ScanStore(f"file://{folder}")
        prepared = []
        for shape in shapes:
            store.write("scan", sample_scan(shape))
            with store.open("scan") as file:
                volume = read_volume(file, max_voxels=int(np.prod(shape)))
            prepared.append(predictor.preprocess([(volume.data, volume.header.affine)]))

    def rate(batches: Sequence[Sequence[Any]]) -> float:
        began = time.perf_counter()
        for batch in batches:
            predictor.predict(batch)
        return len(prepared) / (time.perf_counter() - began)

    pairs = [(rate([prepared]), rate([[scan] for scan in prepared])) for _ in range(rounds)]
    return {
        "across_scans_per_s": statistics.median(across for across, _ in pairs),
        "scan_by_scan_per_s": statistics.median(separate for _, separate in pairs),
        "ratio": statistics.median(across / separate for across, separate in pairs),
    }


def print_report(numbers: dict[str, Any]) -> None:
    """Print the tables."""
    table = Table(
        "model",
        "mixed scans/s",
        "one shape scans/s",
        "ratio",
        title="The same scans, shapes in turn or sorted",
    )
    for row in numbers["streams"]:
        table.add_row(
            row["model"],
            f"{row['mixed_scans_per_s']:.2f}",
            f"{row['one_shape_scans_per_s']:.2f}",
            f"{row['ratio']:.3f}",
        )
    console.print(table)
    windows = numbers["windows"]
    console.print(
        f"windows across scans: {windows['across_scans_per_s']:.2f} scans/s, "
        f"scan by scan: {windows['scan_by_scan_per_s']:.2f} (x {windows['ratio']:.3f})"
    )


def plot(numbers: dict[str, Any], path: Path) -> None:
    """Draw each rate divided by that of the same scans sorted by shape, or run scan by scan."""
    plt = pyplot()
    names = [row["model"] for row in numbers["streams"]] + ["windows\nacross scans"]
    ratios = [row["ratio"] for row in numbers["streams"]] + [numbers["windows"]["ratio"]]
    figure, axis = plt.subplots(figsize=(8, 3.6), layout="constrained")
    colours = ["#4878a8"] * len(numbers["streams"]) + ["#c07840"]
    axis.bar_label(axis.bar(names, ratios, color=colours), fmt="%.2f", padding=3)
    axis.axhline(1, color="grey", linewidth=0.8, linestyle=":")
    axis.margins(y=0.15)
    axis.set(
        title="four shapes in turn against sorted by shape; shared passes against scan by scan",
        ylabel="scans/s, as a ratio",
    )
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure, print, write."""
    parser = option_parser(__doc__)
    parser.add_argument("--each", type=int, default=8, help="scans of each shape")
    parser.add_argument("--batch", type=int, default=4, help="scans in a batch")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured")
    parser.add_argument("--quick", action="store_true", help="small scans, few of them, once")
    add_output_option(parser)
    options = parser.parse_args()
    if options.quick:
        options.each, options.batch, options.rounds = 2, 2, 1
    shapes, spacing_mm = (SMALL_SHAPES, 4.0) if options.quick else (SHAPES, 2.0)
    configure_logging("bench", level=logging.ERROR)
    print_machine(console)
    with embedded_redis() as url, tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        write_bundles(models, spacing_mm)
        settings = Settings(
            redis_url=url,
            store_url=f"file://{folder}/store",
            models_dir=models,
            max_batch_size=options.batch,
        )
        bench = Bench(settings, shapes)
        try:
            models_measured = (bench.loaded, f"{WHOLE}@{VERSION}", f"{WINDOWS}@{VERSION}")
            streams = [
                mixed_against_sorted(bench, model, options.each, options.rounds)
                for model in models_measured
            ]
        finally:
            bench.close()
        windows = windows_across_scans(models / WINDOWS / VERSION, shapes, options.rounds)
    numbers = {"shapes": shapes, "batch": options.batch, "streams": streams, "windows": windows}
    print_report(numbers)
    written = write_json("mixed", numbers, options.output)
    plot(numbers, written.with_suffix(".png"))
    console.print(f"written: {written}, {written.with_suffix('.png').name}")


if __name__ == "__main__":
    main()
