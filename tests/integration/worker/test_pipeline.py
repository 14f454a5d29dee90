"""A batch in a real, but small, network and a real store."""

import io
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import nibabel
import numpy as np
import pytest
import torch
from nibabel.nifti1 import Nifti1Image
from PIL import Image

from shared.bundles.catalog import ModelCatalog
from shared.errors import WrongStore
from shared.results import Report
from shared.settings import Settings
from shared.storage.job_records import JobRecords, StoredReport
from shared.storage.store import ScanStore
from shared.volumes.reader import read_volume
from tests.support.bundles import write_tiny_bundle
from tests.support.jobs import submission
from tests.support.loading import load_tumor_predictor
from worker.models.brain_tumor.predictor import Prediction, TumorPredictor
from worker.models.bundle_status import BundleStatuses
from worker.models.cache import ModelCache, open_model_cache
from worker.models.loader import Predictor
from worker.pipeline.outcomes import Failed, Finished, LeasedJob, Retry, Returned
from worker.pipeline.pipeline import Pipeline
from worker.pipeline.self_check import StoreCheck
from worker.queueing.connection import connect
from worker.volume.postprocess import Segmentation
from worker.volume.preprocess import Prepared

OBLIQUE = nibabel.affines.from_matvec(
    np.diag([0.9, 0.9, 4.0]) @ np.array([[0.96, 0, 0.28], [0, 1, 0], [-0.28, 0, 0.96]]),
    [-40, -50, -30],
)


def scan_bytes(marker: int = 100) -> bytes:
    """Return a small oblique volume with a bright ball; its highest intensity is ``marker``."""
    i, j, k = np.indices((40, 44, 12))
    ball = (i - 20) ** 2 + (j - 22) ** 2 + 9 * (k - 6) ** 2 < 150
    return bytes(Nifti1Image(np.where(ball, marker, 10).astype(np.int16), OBLIQUE).to_bytes())


@pytest.fixture
def settings(settings: Settings, models_dir: Path) -> Settings:
    """Settings that name the tiny bundle."""
    write_tiny_bundle(models_dir)
    return settings.model_copy(update={"default_model": "tiny", "threads": 1})


def leased(store: ScanStore, content: bytes | None) -> LeasedJob:
    """Return a leased job whose scan is ``content``, or missing."""
    job = submission(model="tiny")
    key = store.scan_key(job.id, "scan", gzipped=False)
    if content is not None:
        store.write(key, content)
    job = job.model_copy(update={"scans": {"scan": key}})
    return LeasedJob(job, execution=f"run-{job.id[-6:]}", queue="tiny@1.0.0:routine", losses=0)


def run(pipeline: Pipeline, leased_jobs: Sequence[LeasedJob]) -> list[object]:
    """Run a batch of which no lease is lost."""
    return list(pipeline.run(leased_jobs, "worker-1", lambda _: False))


def test_masks_and_pictures_are_stored(pipeline: Pipeline, store: ScanStore) -> None:
    """Each scan of a batch gets a mask in its own grid and a picture, named for its execution."""
    leased_jobs = [leased(store, scan_bytes()) for _ in range(3)]
    for job, outcome in zip(leased_jobs, run(pipeline, leased_jobs), strict=True):
        assert isinstance(outcome, Finished)
        report = outcome.report
        assert report.batch.size == 3
        assert report.result.scan.shape == (40, 44, 12)
        assert all(job.execution in key for key in report.artefacts.values())
        with store.open(report.artefacts["mask"]) as file:
            mask = read_volume(file, max_voxels=1 << 30)
        assert mask.data.shape == (40, 44, 12)
        np.testing.assert_allclose(mask.header.affine, OBLIQUE, atol=1e-4)
        Image.open(io.BytesIO(store.read(report.artefacts["preview"]))).verify()
        stored = JobRecords(store).find_report(job.id)
        as_json = Report.parse(report.model_dump_json())  # whose values are rounded
        assert stored == StoredReport(execution=job.execution, report=as_json)


def test_a_decompressed_copy_is_read_in_a_scans_place(
    pipeline: Pipeline, settings: Settings, store: ScanStore
) -> None:
    """The API's decompressed copy is read by the first run of the job, and the scan by others."""
    job, decompressed = leased(store, b"no volume, to show which was read"), scan_bytes()
    (key,) = job.submission.scans.values()
    copy = ScanStore(settings.store_url, decompressed_bytes=1 << 20).begin_decompressed(
        key, len(decompressed)
    )
    assert copy is not None
    copy.write(decompressed)
    copy.finish()
    first, second = (run(pipeline, [job])[0] for _ in range(2))
    assert isinstance(first, Finished)
    assert isinstance(second, Failed)


def test_timings_add_up(pipeline: Pipeline, store: ScanStore) -> None:
    """The stages of a job are contiguous: together with the wait they are its total."""
    (outcome,) = run(pipeline, [leased(store, scan_bytes())])
    assert isinstance(outcome, Finished)
    timings = dict(outcome.report.timings_s)
    total = timings.pop("total")
    assert sum(timings.values()) == pytest.approx(total)
    assert min(timings.values()) > 0


@pytest.mark.parametrize(
    ("content", "slug"),
    [(b"not a volume", "unsupported-media"), (scan_bytes()[:-64], "bad-scan"), (None, "bad-scan")],
)
def test_one_bad_scan_fails_alone(
    pipeline: Pipeline, store: ScanStore, content: bytes | None, slug: str
) -> None:
    """A scan that cannot be read fails with its problem; the others finish."""
    leased_jobs = [leased(store, scan_bytes()), leased(store, content), leased(store, scan_bytes())]
    first, bad, last = run(pipeline, leased_jobs)
    assert isinstance(first, Finished)
    assert isinstance(last, Finished)
    assert isinstance(bad, Failed)
    assert bad.problem["type"].endswith(slug)
    assert bad.problem["instance"] == f"/jobs/{leased_jobs[1].id}"


class FailingPredictor:
    """A predictor that raises what ``fault`` raises for a batch of prepared scans."""

    def __init__(
        self, inner: TumorPredictor, fault: Callable[[Sequence[Prepared]], object]
    ) -> None:
        self._inner = inner
        self._fault = fault
        self.sizes: list[int] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def predict(self, batch: Sequence[Prepared], _: object) -> list[Prediction]:
        """Raise, or predict."""
        self.sizes.append(len(batch))
        self._fault(batch)
        return self._inner.predict(batch)


@contextmanager
def failing_pipeline(
    settings: Settings, fault: Callable[[Sequence[Prepared]], object]
) -> Iterator[tuple[FailingPredictor, Pipeline]]:
    """Open a pipeline with the tiny network, which raises what ``fault`` raises."""
    (models,) = settings.models_dirs[:1]
    predictor = FailingPredictor(load_tumor_predictor(models / "tiny" / "1.0.0", threads=1), fault)
    with connect(settings) as redis:
        model_cache = ModelCache(
            ModelCatalog(settings.models_dirs),
            lambda _: cast("Predictor", predictor),
            BundleStatuses(redis, "worker-1"),
            default="tiny",
            capacity=1,
        )
        pipeline = Pipeline(settings, model_cache)
        yield predictor, pipeline
        pipeline.close()


def odd_scan_bytes() -> bytes:
    """A volume of another shape than that of `scan_bytes`."""
    voxels = np.arange(8000, dtype=np.int16).reshape(20, 20, 20)
    return bytes(Nifti1Image(voxels, np.eye(4)).to_bytes())


def is_odd(prepared: Prepared) -> bool:
    """Return whether it is the volume of `odd_scan_bytes`."""
    return prepared.frame.scan_shape == (20, 20, 20)


def test_a_batch_that_raises_is_bisected(settings: Settings, store: ScanStore) -> None:
    """Of eight scans the one that the network cannot compute fails, and no error text is shown."""

    def fault(batch: Sequence[Prepared]) -> None:
        if any(map(is_odd, batch)):
            raise RuntimeError("a message that might quote the scan")

    content = [scan_bytes()] * 8
    content[5] = odd_scan_bytes()
    with failing_pipeline(settings, fault) as (predictor, pipeline):
        outcomes = run(pipeline, [leased(store, scan) for scan in content])
    assert [isinstance(outcome, Finished) for outcome in outcomes] == [
        index != 5 for index in range(8)
    ]
    failed = outcomes[5]
    assert isinstance(failed, Failed)
    assert "quote" not in str(failed.problem)
    assert predictor.sizes == [8, 4, 4, 2, 1, 1, 2]
    assert not pipeline.take_metrics().get("oom_splits_total")


def test_a_batch_too_large_for_memory_is_halved(settings: Settings, store: ScanStore) -> None:
    """Every scan finishes, the next batch begins with the size that worked, and it is counted."""

    def fault(batch: Sequence[Prepared]) -> None:
        if len(batch) > 2:
            torch.empty(1 << 60)

    with failing_pipeline(settings, fault) as (predictor, pipeline):
        for _ in range(2):
            outcomes = run(pipeline, [leased(store, scan_bytes()) for _ in range(4)])
            assert all(isinstance(outcome, Finished) for outcome in outcomes)
    assert predictor.sizes == [4, 2, 2, 2, 2]
    assert pipeline.take_metrics()["oom_splits_total"] == 1


def test_a_scan_too_large_for_memory_is_tried_again(settings: Settings, store: ScanStore) -> None:
    """It goes back to the queue with the reason, and the others finish."""

    def fault(batch: Sequence[Prepared]) -> None:
        if any(map(is_odd, batch)):
            torch.empty(1 << 60)

    content = [scan_bytes(), odd_scan_bytes(), scan_bytes()]
    with failing_pipeline(settings, fault) as (_, pipeline):
        first, huge, last = run(pipeline, [leased(store, scan) for scan in content])
    assert isinstance(first, Finished)
    assert isinstance(last, Finished)
    assert isinstance(huge, Retry)
    assert "not enough memory" in huge.problem["detail"]


def test_an_error_of_the_disk_is_tried_again(
    pipeline: Pipeline, store: ScanStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An input/output error counts as one that may pass, not as the scan's fault."""

    def fail(self: ScanStore, key: str) -> object:
        raise OSError("input/output error")

    job = leased(store, scan_bytes())
    monkeypatch.setattr(ScanStore, "open", fail)
    (outcome,) = run(pipeline, [job])
    assert isinstance(outcome, Retry)


def test_a_result_that_is_not_a_number_fails_alone(
    settings: Settings, store: ScanStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job whose result is NaN fails with a reason and writes no file; no other job fails."""
    good, odd = leased(store, scan_bytes()), leased(store, odd_scan_bytes())
    postprocess = TumorPredictor.postprocess

    def unsure(self: TumorPredictor, prepared: Prepared, prediction: Prediction) -> Segmentation:
        done = postprocess(self, prepared, prediction)
        return replace(done, probability=math.nan) if is_odd(prepared) else done

    monkeypatch.setattr(TumorPredictor, "postprocess", unsure)
    with failing_pipeline(settings, lambda _: None) as (_, pipeline):
        finished, failed = run(pipeline, [good, odd])
    assert isinstance(finished, Finished)
    assert isinstance(failed, Failed)
    assert "not numbers" in failed.problem["detail"]
    assert not store._fs.glob(f"{store._root}/{store.folder(odd.id)}/*mask*")


def test_masks_below_a_lost_mount_are_no_masks(settings: Settings, store: ScanStore) -> None:
    """Jobs whose files were written while the store was away go back uncharged."""

    def away() -> None:
        raise WrongStore("The store is another.")

    with connect(settings) as redis:
        model_cache = open_model_cache(settings, redis, "worker-1")
        opened = Pipeline(settings, model_cache, StoreCheck(away, away))
        (outcome,) = run(opened, [leased(store, scan_bytes())])
        opened.close()
    assert isinstance(outcome, Returned)
    assert outcome.trouble.reason == "The store is another."


def test_a_lost_job_stops_and_its_files_are_removed(pipeline: Pipeline, store: ScanStore) -> None:
    """Work on a cancelled job stops, and the files of a dropped outcome are removed."""
    lost, kept = leased(store, scan_bytes()), leased(store, scan_bytes())
    outcomes = pipeline.run([lost, kept], "worker-1", lambda job: job.id == lost.id)
    assert isinstance(outcomes[0], Retry)
    assert isinstance(outcomes[1], Finished)
    mask = outcomes[1].report.artefacts["mask"]
    assert store.size(mask) > 0
    pipeline.discard(kept)
    pipeline.discard(lost)
    assert store.file_names(kept.id) == ["scan.nii"]


def test_a_job_of_a_model_that_is_gone_fails(pipeline: Pipeline, store: ScanStore) -> None:
    """A job whose version is no longer on disk fails with a reason, and the next one runs."""
    gone = leased(store, scan_bytes())
    gone = LeasedJob(
        gone.submission.model_copy(update={"version": "0.9"}), gone.execution, gone.queue, 0
    )
    (outcome,) = run(pipeline, [gone])
    assert isinstance(outcome, Failed)
    assert outcome.problem["type"].endswith("model-not-found")
    (outcome,) = run(pipeline, [leased(store, scan_bytes())])
    assert isinstance(outcome, Finished)
