"""Models of the user in a worker's whole pipeline."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from shared.bundles.contents import BundleContents
from shared.jobs import Stage
from shared.settings import Settings
from shared.storage.store import ScanStore
from shared.volumes.reader import read_volume
from tests.support.jobs import submission
from tests.support.monai_bundles import (
    FOUR_CHANNELS,
    ONE_CHANNEL,
    four_channels,
    one_channel,
    write_bundle,
)
from tests.support.scans import AFFINE, nifti
from worker.pipeline.outcomes import Failed, Finished, LeasedJob, Outcome
from worker.pipeline.pipeline import Pipeline
from worker.pipeline.progress import Step

SHAPE = (26, 22, 18)


@pytest.fixture
def settings(settings: Settings, models_dir: Path) -> Settings:
    """Settings of a worker with two bundles in the zoo's format."""
    write_bundle(models_dir, "four", FOUR_CHANNELS, four_channels())
    write_bundle(models_dir, "one", ONE_CHANNEL, one_channel())
    return settings.model_copy(update={"default_model": "four", "threads": 1})


def leased(store: ScanStore, models_dir: Path, model: str, **affines: np.ndarray) -> LeasedJob:
    """Store a scan of the model's channels and return its leased job.

    ``affines`` puts a channel into another grid.
    """
    version = "0.4.2"
    card = BundleContents.read(models_dir / model / version).card
    submitted = submission(model=model, version=version)
    keys = {}
    for seed, channel in enumerate(card.inputs):
        data = np.zeros(SHAPE, np.int16)
        data[5:20, 4:18, 3:15] = np.random.default_rng(seed).integers(100, 200, (15, 14, 12))
        keys[channel.name] = store.scan_key(submitted.id, channel.name, gzipped=False)
        affine = affines.get(channel.name, AFFINE)
        store.write(keys[channel.name], nifti(data, affine=affine))
    # As a browser's form may send them: in another order than the card's.
    submitted = submitted.model_copy(update={"scans": dict(reversed(keys.items()))})
    return LeasedJob(
        submitted,
        execution=f"run-{submitted.id[-6:]}",
        queue=f"{submitted.model_ref}:routine",
        losses=0,
    )


def run(pipeline: Pipeline, *leased_jobs: LeasedJob) -> list[Outcome]:
    """Run a batch of which no lease is lost."""
    return pipeline.run(leased_jobs, "worker-1", lambda _: False)


@pytest.mark.parametrize("model", ["four", "one"])
def test_a_scan_of_all_its_channels_gets_a_mask(
    pipeline: Pipeline, store: ScanStore, models_dir: Path, model: str
) -> None:
    """Each scan of a batch gets a mask in its own grid, with the card's labels and its volume."""
    for outcome in run(pipeline, *[leased(store, models_dir, model) for _ in range(2)]):
        assert isinstance(outcome, Finished)
        result = outcome.report.result
        with store.open(outcome.report.artefacts["mask"]) as file:
            mask = read_volume(file, max_voxels=1 << 20)
        assert mask.data.shape == SHAPE
        np.testing.assert_allclose(mask.header.affine, AFFINE, atol=1e-4)
        card = BundleContents.read(models_dir / model / "0.4.2").card
        shown = set(np.unique(mask.data)) - {0}
        assert shown == {label.value for label in result.labels}
        assert shown <= {label.value for label in card.labels}
        voxel_ml = abs(np.linalg.det(AFFINE[:3, :3])) / 1000
        marked = np.count_nonzero(mask.data) * voxel_ml
        assert result.tumor.volume_ml == pytest.approx(marked, rel=1e-4)
        assert result.tumor.present == bool(shown)


def test_channels_of_unlike_grids_fail_alone(
    pipeline: Pipeline, store: ScanStore, models_dir: Path
) -> None:
    """A scan with a channel in another grid fails with its name; the other scan finishes."""
    moved = AFFINE.copy()
    moved[2, 3] += 4
    bad, good = leased(store, models_dir, "four", t2=moved), leased(store, models_dir, "four")
    refused, finished = run(pipeline, bad, good)
    assert isinstance(refused, Failed)
    assert refused.problem["type"].endswith("bad-scan")
    assert "t2" in refused.problem["detail"]
    assert isinstance(finished, Finished)


def test_a_job_that_lacks_a_channel_fails_with_a_reason(
    pipeline: Pipeline, store: ScanStore, models_dir: Path
) -> None:
    """If a model's inputs changed after the submit, the missing one is named."""
    whole = leased(store, models_dir, "four")
    scans = {name: key for name, key in whole.submission.scans.items() if name != "flair"}
    lacking = LeasedJob(
        whole.submission.model_copy(update={"scans": scans}), whole.execution, whole.queue, 0
    )
    (outcome,) = run(pipeline, lacking)
    assert isinstance(outcome, Failed)
    assert "flair" in outcome.problem["detail"]


def test_progress_is_reported_by_stage_and_by_window(
    pipeline: Pipeline, store: ScanStore, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each scan of a batch passes every stage; in the network its windows advance its progress."""
    reported: list[Step] = []
    monkeypatch.setattr(pipeline.progress, "put", reported.extend)
    leased_jobs = [leased(store, models_dir, "one") for _ in range(2)]
    run(pipeline, *leased_jobs)
    for leased_job in leased_jobs:
        steps = [step for step in reported if step.job is leased_job]
        assert list(dict.fromkeys(step.stage for step in steps)) == list(Stage)
        assert all(before.progress <= after.progress for before, after in pairwise(steps))
        windows = [step.progress for step in steps if step.stage is Stage.INFERENCE]
        assert len(set(windows)) > 4
