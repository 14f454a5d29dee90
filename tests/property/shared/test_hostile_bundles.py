"""Hostile bundles beside a healthy one: nothing is raised, and the healthy one is served."""

import os
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.hostile.bundles.generate import hostile_bundles
from shared.bundles.available_models import AvailableModels
from shared.bundles.bundle import MAX_REASON, read_bundle
from shared.bundles.catalog import ModelCatalog
from shared.bundles.config import Configuration
from shared.errors import ModelError
from tests.support.bundles import write_tiny_bundle
from worker.models.check import check

pytestmark = pytest.mark.timeout(300)

#: All bundles of the table, and further random ones.
COUNT = 400
#: Seconds that reading one bundle may take, far above what it takes.
LOOK_S = 10.0
#: Memory that all of them may take (bytes).
MEMORY_BYTES = 1 << 30
SEED = int(os.environ.get("VOXELQ_TEST_SEED", "7"))


@pytest.fixture
def models(tmp_path: Path) -> Iterator[Path]:
    """A folder of models with one that is healthy."""
    write_tiny_bundle(tmp_path / "models", name="healthy")
    yield tmp_path / "models"
    for folder in (tmp_path / "models").glob("*/*/configs"):
        if not folder.is_symlink():
            folder.chmod(0o700)  # so that the test's folder can be removed


def test_a_healthy_bundle_is_served_beside_hostile_ones(models: Path) -> None:
    """Reading each ends in time, and every folder is reported with a bounded reason."""
    folders = hostile_bundles(models, SEED, COUNT)
    before, files = _peak_bytes(), len(os.listdir("/proc/self/fd"))
    for folder in folders:
        began = time.perf_counter()
        read_bundle(folder)
        assert time.perf_counter() - began < LOOK_S, folder
    catalog = ModelCatalog([models])
    for _ in range(2):  # read once, and again
        available = AvailableModels(catalog.bundles(), {}, "healthy")
        assert available.resolve().ref == "healthy@1.0.0"
        assert "healthy" in [card.name for card in available.cards]
        unserved = [*available.broken, *available.arriving]
        # many have one name and version
        assert len(unserved) + len(available.cards) > len(folders) / 2
        for one in unserved:
            shown = f"{one.name}@{one.version}: {one.reason}"
            assert shown.isprintable(), shown
            shown.encode("utf-8")
            assert len(one.reason) <= MAX_REASON
    assert _peak_bytes() - before < MEMORY_BYTES
    assert len(os.listdir("/proc/self/fd")) <= files


def test_a_hostile_configuration_is_refused_with_reasons(models: Path) -> None:
    """The check of a configuration names what is wrong and never raises anything else."""
    for folder in hostile_bundles(models, SEED + 1, COUNT):
        try:
            configuration = Configuration.read_unvalidated(folder)
            problems = list(configuration.problems()) if configuration else []
        except ModelError:
            continue
        except OSError:
            assert os.geteuid() != 0
            continue
        assert all(isinstance(problem, str) for problem in problems)


def test_the_workers_check_survives_hostile_bundles(models: Path) -> None:
    """The worker's check reports each bundle in a finding, and raises nothing."""
    folders = hostile_bundles(models, SEED + 2, COUNT)
    for folder in folders:
        findings = list(check(folder))
        assert findings, folder


def test_a_folder_that_may_not_be_read_is_broken() -> None:
    """A folder without permission, at any depth, is a problem of its own bundle alone."""
    with tempfile.TemporaryDirectory() as folder:  # which other users may enter
        models = Path(folder)
        models.chmod(0o755)
        inner, outer, named = (
            write_tiny_bundle(models, name=name) for name in ("inner", "outer", "named")
        )
        write_tiny_bundle(models, name="healthy")
        closed = (inner / "models", outer, named.parent)
        for one in closed:
            one.chmod(0)
        with _an_ordinary_user():
            available = AvailableModels(ModelCatalog([models]).bundles(), {}, "healthy")
        for one in closed:
            one.chmod(0o700)
    assert available.resolve().ref == "healthy@1.0.0"
    unserved = {one.name: one.reason for one in available.broken + available.arriving}
    assert sorted(unserved) == ["inner", "named", "outer"]
    assert all("cannot be read" in reason for reason in unserved.values())


@contextmanager
def _an_ordinary_user() -> Iterator[None]:
    """Drop root's right to read every file until the block ends."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_very_many_folders_do_not_hide_a_model(models: Path) -> None:
    """Thousands of folders without a bundle are read in time, and the model is found."""
    for number in range(3000):
        (models / f"a{number}").mkdir()
    began = time.perf_counter()
    assert (
        AvailableModels(ModelCatalog([models]).bundles(), {}, "healthy").resolve().name == "healthy"
    )
    assert time.perf_counter() - began < LOOK_S


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
