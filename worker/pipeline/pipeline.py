"""The way of one batch: load, preprocess, inference, postprocess, store.

Each stage is done for the whole batch before the next begins, so that the stages' times add up
to the batch's; several batches may be on their way, each in a lane of its own. Whatever goes wrong
with one scan ends that scan and no other.
"""

import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from shared.bundles.model_card import ModelCard
from shared.errors import (
    BadScan,
    JobLost,
    ScanMissing,
    StoreUnavailable,
    VoxelQError,
    WrongStore,
)
from shared.jobs import Stage
from shared.queue.worker_metrics import added
from shared.results import BatchInfo, Report, SegmentationResult
from shared.settings import Settings
from shared.storage.job_records import JobRecords, report_key
from shared.storage.store import ScanStore
from shared.volumes.mask_writer import mask_bytes
from shared.volumes.nifti_header import VolumeHeader
from shared.volumes.reader import Volume, read_volume
from worker.device.compute_mode import ComputeMode
from worker.device.select import release_idle_memory, set_threads
from worker.device.sharing import SharedDevice
from worker.inference.progress import OnProgress
from worker.metrics.counters import Counters
from worker.metrics.stage_timer import StageTimer
from worker.models.cache import ModelCache
from worker.models.loader import Predictor
from worker.pipeline.batch_predict import predict_each
from worker.pipeline.fault_attribution import FaultAttribution, ScanError
from worker.pipeline.outcomes import Finished, LeasedJob, Outcome, Retry
from worker.pipeline.preview import preview_png
from worker.pipeline.progress import BatchProgress, ProgressBoard
from worker.pipeline.results import findings
from worker.pipeline.self_check import StoreCheck, check_device
from worker.pipeline.stage_weights import StageWeights
from worker.pipeline.trouble import Trouble
from worker.volume.align_channels import Channel
from worker.volume.postprocess import Segmentation

log = structlog.get_logger()

T = TypeVar("T")


@dataclass
class _Item:
    """One scan on its way; ``error`` is what it met, ``outcome`` what becomes of its job."""

    job: LeasedJob
    header: VolumeHeader | None = None
    channels: list[Channel] = field(default_factory=list)
    prepared: Any = None
    prediction: Any = None
    segmentation: Segmentation | None = None
    result: SegmentationResult | None = None
    artefacts: dict[str, str] = field(default_factory=dict)
    error: Exception | None = None
    outcome: Outcome | None = None


class Pipeline:
    """One network on one device, fed from the store; the engine of a MicroBatchWorker."""

    def __init__(
        self,
        settings: Settings,
        model_cache: ModelCache[Predictor],
        check_store: StoreCheck | None = None,
    ) -> None:
        self._settings = settings
        self._check_store = check_store
        self._store = ScanStore(settings.store_url)
        self._records = JobRecords(self._store)
        self._model_cache = model_cache
        self._predictor = model_cache.default()
        self._device = SharedDevice(self._predictor.device, settings.threads, settings.lanes)
        self._counts = Counters()
        self._progress = ProgressBoard()
        self._pace = StageWeights()
        self._attribution = FaultAttribution(check_store)
        # Reading and writing mostly wait on disks and on gzip, which leaves the GIL.
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
        """How many batches may be on their way at once."""
        return self._device.lanes

    @property
    def concurrency(self) -> int:
        """How many of those may compute at the same time."""
        return self._device.concurrency

    @property
    def arithmetic(self) -> ComputeMode:
        """How that network is computed."""
        return self._predictor.compute_mode

    @property
    def peak_memory_bytes(self) -> int | None:
        """The most memory held since nothing was in hand; None if that is unknown."""
        return self._device.peak_memory_bytes

    @property
    def progress(self) -> ProgressBoard:
        """Where it is noted how far jobs have come."""
        return self._progress

    def counted(self) -> dict[str, float]:
        """Return what was counted since the last call."""
        busy = {"device_busy_seconds_total": self._device.taken_busy_s()}
        return added([busy, self._counts.take()])

    def run(
        self, jobs: Sequence[LeasedJob], worker_id: str, is_lost: Callable[[LeasedJob], bool]
    ) -> list[Outcome]:
        """Compute one batch of one model; one outcome a claim, in order. Never raises.

        ``is_lost`` tells whose outcome would be dropped anyway; what is left of their work is
        spared.
        """
        try:
            with self._device.share():
                return self._run(jobs, worker_id, is_lost)
        finally:
            self._progress.drop(jobs)

    def _run(
        self, jobs: Sequence[LeasedJob], worker_id: str, is_lost: Callable[[LeasedJob], bool]
    ) -> list[Outcome]:
        began_at = datetime.now(UTC)
        batch = BatchInfo(id=uuid.uuid4().hex, size=len(jobs))
        items = [_Item(job) for job in jobs]
        clock = StageTimer()
        try:
            predictor = self._predictor_for(jobs[0].submission.model_ref)
        except VoxelQError as error:
            for item in items:
                item.error = error
            self._attribute(items, None)
            return [item.outcome for item in items if item.outcome is not None]
        progress = BatchProgress(self._progress, self._pace.spans(predictor.card.ref))

        def live() -> list[_Item]:
            for item in items:
                if item.outcome is None and is_lost(item.job):
                    item.outcome = Retry(JobLost("Its lease was lost.").problem())
            return [item for item in items if item.outcome is None and item.error is None]

        @contextmanager
        def stage(stage: Stage) -> Iterator[list[_Item]]:
            items = live()
            progress.enter(stage, [item.job for item in items])
            with clock.stage(stage):
                yield items

        def load(item: _Item) -> None:
            volumes = [self._read(key) for key in _channel_keys(item.job, predictor.card)]
            item.header = volumes[0].header  # mask and picture lie in the first one's grid
            item.channels = [(_intensities(one), one.header.affine) for one in volumes]

        def preprocess(item: _Item) -> None:
            item.prepared = predictor.preprocess(item.channels)

        def postprocess(item: _Item) -> None:
            item.segmentation = predictor.postprocess(
                _known(item.prepared), _known(item.prediction)
            )
            item.result = findings(
                _known(item.header), item.segmentation, item.job.submission.sha256
            )

        with stage(Stage.LOAD) as loading:
            self._each(load, loading)
        with stage(Stage.PREPROCESS) as loaded:
            self._each(preprocess, loaded)
        with self._device.turn():
            clock.waited()
            self._device.use_share()
            with stage(Stage.INFERENCE) as prepared:
                on_shares = progress.on_shares([item.job for item in prepared])
                self._predict(predictor, prepared, on_shares)
        with stage(Stage.POSTPROCESS) as predicted:
            self._each(postprocess, predicted)
        with stage(Stage.STORE) as segmented:
            self._each(self._write, segmented)
        self._pace.saw(predictor.card.ref, clock.seconds)

        def finish(item: _Item) -> None:
            submission = item.job.submission
            report = Report(
                result=_known(item.result),
                timings_s=clock.timings(submission.created_at, began_at),
                batch=batch,
                worker=worker_id,
                artefacts=item.artefacts,
            )
            self._records.write_report(submission.id, item.job.execution, report)
            item.outcome = Finished(report)

        for item in self._surely_stored(live()):
            _guarded(finish, item)
        self._attribute(items, predictor)
        return [item.outcome for item in items if item.outcome is not None]

    def check(self, *, thorough: bool) -> Trouble | None:
        """Return what keeps this worker from serving; None while all is well. Never raises.

        A ``thorough`` check also writes to the store and runs the network.
        """
        trouble = self._check_store(thorough=thorough) if self._check_store else None
        if trouble or not thorough:
            return trouble
        return self._check_device(self._predictor)

    def prepare(self, model_ref: str) -> None:
        """Load a model ahead of its batch; what is wrong with it shows when the batch runs."""
        with suppress(VoxelQError):
            self._predictor_for(model_ref)

    def refresh_models(self) -> None:
        """Try what is new among the models."""
        self._model_cache.refresh_models()

    def discard(self, job: LeasedJob) -> None:
        """Remove the files of an outcome that was dropped; nobody refers to them."""
        try:
            # The report first: without it no recovery takes what is left for a finished job.
            for key in (report_key(job.id, job.execution), *_artefacts(job).values()):
                self._store.delete(key)
        except StoreUnavailable as error:
            log.warning("discard_failed", job=job.id, error=type(error).__name__)

    def idle(self) -> None:
        """Give cached device memory back."""
        release_idle_memory()

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()
        if self._check_store:
            self._check_store.close()

    def _check_device(self, predictor: Predictor) -> Trouble | None:
        with self._device.turn():
            return check_device(predictor.warm_up)

    def _attribute(self, items: Sequence[_Item], predictor: Predictor | None) -> None:
        """Give an outcome to every item that met an error."""
        failed = [item for item in items if item.error is not None and item.outcome is None]
        outcomes = self._attribution.outcomes(
            [
                ScanError(item.job, _known(item.error), item.header.voxels if item.header else None)
                for item in failed
            ],
            items[0].job.submission.model_ref,
            max(
                (
                    _known(item.header).voxels
                    for item in items
                    if isinstance(item.outcome, Finished)
                ),
                default=0,
            ),
            partial(self._check_device, predictor) if predictor else None,
        )
        for item, outcome in zip(failed, outcomes, strict=True):
            item.outcome = outcome

    def _predictor_for(self, model_ref: str) -> Predictor:
        loaded = self._model_cache.predictor(model_ref)
        if loaded is not self._predictor:
            log.info("model change", old=self._predictor.card.ref, new=model_ref)
            self._predictor = loaded
        return loaded

    def _each(self, step: Callable[[_Item], None], items: Sequence[_Item]) -> None:
        """Do one step for every item; a failure is that item's outcome."""
        if len(items) > 1 and self._device.side_by_side:
            list(self._threads.map(partial(_guarded, step), items))
        else:
            for item in items:
                _guarded(step, item)

    def _predict(
        self, predictor: Predictor, items: Sequence[_Item], on_shares: Sequence[OnProgress]
    ) -> None:
        answers = predict_each(predictor, [_known(item.prepared) for item in items], on_shares)
        for item, answer in zip(items, answers, strict=True):
            if isinstance(answer, Exception):
                item.error = answer
            else:
                item.prediction = answer
        self._counts.add({"oom_splits_total": predictor.pass_sizes.take_splits()})

    def _read(self, key: str) -> Volume:
        try:
            with self._store.open_scan(key) as file:
                return read_volume(file, max_voxels=self._settings.max_voxels)
        except FileNotFoundError as error:
            raise ScanMissing("The scan is no longer in the store.") from error

    def _write(self, item: _Item) -> None:
        mask, keys = _known(item.segmentation).mask, _artefacts(item.job)
        data, affine = item.channels[0]
        picture = preview_png(data, mask, affine)
        self._store.write(keys["mask"], mask_bytes(mask, _known(item.header)))
        self._store.write(keys["preview"], picture)
        item.artefacts = keys

    def _surely_stored(self, items: list[_Item]) -> list[_Item]:
        """Return items whose files were written to the queue's own store.

        Where a mount has gone away, files are written to the folder below it.
        """
        trouble = self._check_store(thorough=False) if self._check_store and items else None
        if trouble is None:
            return items
        for item in items:
            item.error = WrongStore(trouble.reason)
        return []


def _guarded(step: Callable[[_Item], None], item: _Item) -> None:
    try:
        step(item)
    except Exception as error:  # one scan's fault must stay its own
        # What was allocated hangs on the frames, and others need the room.
        traceback.clear_frames(error.__traceback__)
        item.error = error


def _channel_keys(job: LeasedJob, card: ModelCard) -> list[str]:
    """Return the store's keys of the scan's channels, in the order of the model's inputs."""
    scans = job.submission.scans
    missing = [channel.name for channel in card.inputs if channel.name not in scans]
    if missing:
        raise BadScan(f"The job has no channel for the model's input {', '.join(missing)}.")
    return [scans[channel.name] for channel in card.inputs]


def _intensities(volume: Volume) -> NDArray[np.generic]:
    plain = volume.header.slope == 1 and volume.header.inter == 0
    return volume.data if plain else volume.scaled()


def _artefacts(job: LeasedJob) -> dict[str, str]:
    # Named for the execution: a worker that lost its lease writes beside, never over.
    folder = ScanStore.folder(job.id)
    return {
        "mask": f"{folder}/{job.execution}.mask.nii.gz",
        "preview": f"{folder}/{job.execution}.preview.png",
    }


def _known(value: T | None) -> T:
    if value is None:
        raise RuntimeError("a stage was skipped")
    return value
