"""The way of one batch: load, preprocess, inference, postprocess, store.

Each stage is done for the whole batch before the next begins, so that the stages' times add up
to the batch's. Several batches may be active, each in a lane of its own.
"""

import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import structlog

from shared.errors import VoxelQError, WrongStore
from shared.jobs import Stage
from shared.queue.worker_metrics import sum_counts
from shared.results import BatchInfo, Report
from shared.settings import Settings
from shared.storage.store import ScanStore
from worker.device.compute_mode import ComputeMode
from worker.device.select import release_idle_memory, set_threads
from worker.device.sharing import SharedDevice
from worker.metrics.counters import Counters
from worker.metrics.stage_timer import StageTimer
from worker.models.cache import ModelCache
from worker.models.loader import Predictor
from worker.pipeline.artefacts import Artefacts
from worker.pipeline.batch_predict import predict_each
from worker.pipeline.batch_scans import BatchScans
from worker.pipeline.fault_attribution import FaultAttribution, ScanError
from worker.pipeline.outcomes import Finished, LeasedJob, Outcome
from worker.pipeline.progress import BatchProgress, ProgressBoard
from worker.pipeline.self_check import StoreCheck, check_device
from worker.pipeline.stage_weights import StageWeights
from worker.pipeline.stages import (
    Begun,
    Predicted,
    Preprocessed,
    Reported,
    Scan,
    ScanStages,
    Stored,
)
from worker.pipeline.trouble import Trouble

log = structlog.get_logger()

S = TypeVar("S", bound=Scan)


class Pipeline:
    """The engine of a MicroBatchWorker: computes batches of scans from the store on one device."""

    def __init__(
        self,
        settings: Settings,
        model_cache: ModelCache[Predictor],
        check_store: StoreCheck | None = None,
    ) -> None:
        self._settings = settings
        self._check_store = check_store
        self._store = ScanStore(settings.store_url)
        self._artefacts = Artefacts(self._store)
        self._model_cache = model_cache
        self._predictor = model_cache.default()
        self._device = SharedDevice(self._predictor.device, settings.threads, settings.lanes)
        self._counters = Counters()
        self._progress = ProgressBoard()
        self._weights = StageWeights()
        self._attribution = FaultAttribution(check_store)
        # Reading and writing mostly wait for disks and gzip, which release the GIL.
        self._threads = ThreadPoolExecutor(4, "scan", set_threads, (1,))

    @property
    def device(self) -> str:
        """Where the network computes."""
        return self._predictor.device

    @property
    def model(self) -> str:
        """``name@version`` of the network that is loaded."""
        return self._predictor.card.ref

    @property
    def lanes(self) -> int:
        """How many batches may be active at once, from reading to writing."""
        return self._device.lanes

    @property
    def concurrency(self) -> int:
        """How many of those batches may compute at the same time."""
        return self._device.concurrency

    @property
    def compute_mode(self) -> ComputeMode:
        """How that network is computed."""
        return self._predictor.compute_mode

    @property
    def peak_memory_bytes(self) -> int | None:
        """The most memory held since no batch was active; None if that is unknown."""
        return self._device.peak_memory_bytes

    @property
    def progress(self) -> ProgressBoard:
        """Where `run` puts the progress of its jobs."""
        return self._progress

    def take_metrics(self) -> dict[str, float]:
        """Return what was counted since the last call."""
        device = {"device_busy_seconds_total": self._device.take_busy_s()}
        return sum_counts([device, self._counters.take()])

    def run(
        self, jobs: Sequence[LeasedJob], worker_id: str, is_lost: Callable[[LeasedJob], bool]
    ) -> list[Outcome]:
        """Compute one batch of one model; return one outcome a job, in order. Never raises.

        ``is_lost`` returns whether a job's outcome would be dropped; its remaining stages are
        skipped.
        """
        try:
            with self._device.share():
                return self._run(jobs, worker_id, is_lost)
        finally:
            self._progress.remove(jobs)

    def _run(
        self, jobs: Sequence[LeasedJob], worker_id: str, is_lost: Callable[[LeasedJob], bool]
    ) -> list[Outcome]:
        began_at = datetime.now(UTC)
        info = BatchInfo(id=uuid.uuid4().hex, size=len(jobs))
        timer = StageTimer()
        model_ref = jobs[0].submission.model_ref
        try:
            predictor = self._predictor_for(model_ref)
        except VoxelQError as error:
            errors = [ScanError(job, error) for job in jobs]
            return self._attribution.outcomes(errors, model_ref, 0, None)
        batch = BatchScans(jobs, is_lost)
        stages = ScanStages(predictor, self._store, self._artefacts, self._settings.max_voxels)
        progress = BatchProgress(self._progress, self._weights.spans(predictor.card.ref))

        @contextmanager
        def stage(stage: Stage, scans: Sequence[S]) -> Iterator[list[S]]:
            remaining = batch.remaining(scans)
            progress.begin(stage, [scan.job for scan in remaining])
            with timer.stage(stage):
                yield remaining

        def report(scan: Stored) -> Reported:
            report = Report(
                result=scan.result,
                timings_s=timer.timings(scan.job.submission.created_at, began_at),
                batch=info,
                worker=worker_id,
                artefacts=dict(scan.artefacts),
            )
            self._artefacts.write_report(scan.job, report)
            return Reported(scan.job, report)

        with stage(Stage.LOAD, [Begun(job) for job in jobs]) as begun:
            loaded = batch.each(stages.load, begun, self._executor)
        with stage(Stage.PREPROCESS, loaded) as loaded:
            preprocessed = batch.each(stages.preprocess, loaded, self._executor)
        with self._device.turn():
            timer.waited()
            self._device.use_share()
            with stage(Stage.INFERENCE, preprocessed) as preprocessed:
                predicted = self._predict(predictor, preprocessed, batch, progress)
        with stage(Stage.POSTPROCESS, predicted) as predicted:
            postprocessed = batch.each(stages.postprocess, predicted, self._executor)
        with stage(Stage.STORE, postprocessed) as postprocessed:
            stored = batch.each(stages.store, postprocessed, self._executor)
        self._weights.observe(predictor.card.ref, timer.seconds)
        stored = self._surely_stored(batch.remaining(stored), batch)
        reported = batch.each(report, stored)

        failed = [ScanError(job, error, stages.voxels.get(job.id)) for job, error in batch.errors]
        attributed = self._attribution.outcomes(
            failed,
            model_ref,
            max((stages.voxels[scan.job.id] for scan in reported), default=0),
            partial(self._check_device, predictor),
        )
        outcomes = batch.lost | {scan.job.id: Finished(scan.report) for scan in reported}
        outcomes |= {one.job.id: outcome for one, outcome in zip(failed, attributed, strict=True)}
        return [outcomes[job.id] for job in jobs]

    def check(self, *, thorough: bool) -> Trouble | None:
        """Return the trouble that keeps this worker from serving, or None. Never raises.

        A ``thorough`` check also writes to the store and runs the network.
        """
        trouble = self._check_store(thorough=thorough) if self._check_store else None
        if trouble or not thorough:
            return trouble
        return self._check_device(self._predictor)

    def prepare(self, model_ref: str) -> None:
        """Load a model before its batch; an error shows when the batch runs."""
        with suppress(VoxelQError):
            self._predictor_for(model_ref)

    def refresh_models(self) -> None:
        """Check the models on disk for changes."""
        self._model_cache.refresh_models()

    def discard(self, job: LeasedJob) -> None:
        """Delete the files of a job whose outcome was dropped."""
        self._artefacts.delete(job)

    def idle(self) -> None:
        """Release cached device memory."""
        release_idle_memory()

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()
        if self._check_store:
            self._check_store.close()

    def _check_device(self, predictor: Predictor) -> Trouble | None:
        with self._device.turn():
            return check_device(predictor.warm_up)

    @property
    def _executor(self) -> Executor | None:
        """The threads for the scans of one batch; None where they run one after another."""
        return self._threads if self._device.parallel_io else None

    def _predictor_for(self, model_ref: str) -> Predictor:
        loaded = self._model_cache.predictor(model_ref)
        if loaded is not self._predictor:
            log.info("model_changed", old=self._predictor.card.ref, new=model_ref)
            self._predictor = loaded
        return loaded

    def _predict(
        self,
        predictor: Predictor,
        scans: Sequence[Preprocessed],
        batch: BatchScans,
        progress: BatchProgress,
    ) -> list[Predicted]:
        on_shares = progress.on_shares([scan.job for scan in scans])
        outputs = predict_each(predictor, [scan.prepared for scan in scans], on_shares)
        self._counters.add({"oom_splits_total": predictor.pass_sizes.take_splits()})
        predicted = []
        for scan, output in zip(scans, outputs, strict=True):
            if isinstance(output, Exception):
                batch.fail(scan.job, output)
            else:
                predicted.append(Predicted(scan, output))
        return predicted

    def _surely_stored(self, scans: list[Stored], batch: BatchScans) -> list[Stored]:
        """Return scans whose files were written to the queue's own store.

        After a mount has gone away, files are written to the folder below it.
        """
        trouble = self._check_store(thorough=False) if self._check_store and scans else None
        if trouble is None:
            return scans
        for scan in scans:
            batch.fail(scan.job, WrongStore(trouble.reason))
        return []
