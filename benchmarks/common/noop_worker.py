"""Workers that compute nothing, so that only the queue is measured.

``python -m benchmarks.common.noop_worker`` runs until SIGTERM, as a real one does.
"""

import os
import signal
import time
import uuid
from collections.abc import Callable, Sequence
from functools import cached_property

from shared.queue.watchdog import Watchdog
from shared.results import (
    BatchInfo,
    Report,
    ScanGeometry,
    SegmentationResult,
    Timings,
    TumorFinding,
)
from shared.settings import Settings
from shared.telemetry import configure_logging
from worker.device.compute_mode import PLAIN
from worker.pipeline.outcomes import Finished, LeasedJob, Outcome
from worker.pipeline.progress import ProgressBoard
from worker.pipeline.trouble import Trouble
from worker.queueing.rq_worker import MicroBatchWorker

MODEL = "noop@1.0.0"


def noop(job_id: str) -> None:
    """Do nothing, in a stock RQ worker."""


def empty_report(leased: LeasedJob, worker_id: str, batch: BatchInfo) -> Report:
    """Return the report of a small scan without a tumour, with all timings 0."""
    return Report(
        result=SegmentationResult(
            tumor=TumorFinding(present=False, probability=0.1, volume_ml=0.0),
            labels=(),
            scan=ScanGeometry(shape=(16, 16, 16), voxel_mm=(1.0, 1.0, 1.0), orientation="RAS"),
            sha256=leased.submission.sha256,
        ),
        timings_s=Timings(
            queue=0, load=0, preprocess=0, inference=0, postprocess=0, store=0, total=0
        ),
        batch=batch,
        worker=worker_id,
        artefacts={},
    )


class NoopEngine:
    """Finishes every scan at once."""

    device = "cpu"
    model = MODEL
    lanes = 1
    concurrency = 1
    compute_mode = PLAIN
    peak_memory_bytes = None

    @cached_property
    def progress(self) -> ProgressBoard:
        """Nothing is put on it."""
        return ProgressBoard()

    def take_metrics(self) -> dict[str, float]:
        """Nothing is counted."""
        return {}

    def run(
        self, leased_jobs: Sequence[LeasedJob], worker_id: str, is_lost: Callable[[LeasedJob], bool]
    ) -> list[Outcome]:
        """Return an empty report for every job."""
        batch = BatchInfo(id=uuid.uuid4().hex, size=len(leased_jobs))
        return [Finished(empty_report(leased, worker_id, batch)) for leased in leased_jobs]

    def check(self, *, thorough: bool) -> Trouble | None:
        """There is no trouble."""
        return None

    def prepare(self, model_ref: str) -> None:
        """Nothing is loaded."""

    def refresh_models(self) -> None:
        """There are no models."""

    def discard(self, leased: LeasedJob) -> None:
        """Nothing was written."""

    def idle(self) -> None:
        """Nothing is held."""


class DrainEngine(NoopEngine):
    """Stops its worker when the queue is empty, and records when that was."""

    def __init__(self) -> None:
        self.drained_at = 0.0

    def idle(self) -> None:
        """Ask the worker to stop."""
        self.drained_at = self.drained_at or time.perf_counter()
        signal.raise_signal(signal.SIGTERM)


def build(engine: NoopEngine, settings: Settings) -> MicroBatchWorker:
    """Return a real MicroBatchWorker with an engine that does nothing."""
    name = f"noop-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    return MicroBatchWorker(
        engine,
        settings,
        name=name,
        queues=[f"{MODEL}:routine"],
        watchdog=Watchdog(name),
    )


if __name__ == "__main__":
    configure_logging("worker")
    build(NoopEngine(), Settings()).work()
