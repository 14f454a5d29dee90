"""The cache of loaded models, on a real server and with pretended models."""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.bundles.bundle import Bundle
from shared.bundles.catalog import ModelCatalog
from shared.errors import (
    MissingRequirement,
    ModelBroken,
    ModelError,
    ModelNotFound,
    ModelNotReady,
)
from shared.queue import keys
from shared.queue.scripts import ABANDON, SIGN_OFF
from shared.settings import Settings
from tests.support.bundles import drop, write_empty_weights, write_tiny_bundle
from worker.models.bundle_loader import DEATHS_BEFORE_TRIAL
from worker.models.bundle_status import BundleStatuses
from worker.models.cache import ModelCache
from worker.queueing.leases import Leases, WorkerFacts


class Pretended:
    """A model that may fail to warm up."""

    def __init__(self, version: str, fault: Exception | None) -> None:
        self.version = version
        self._fault = fault

    def warm_up(self) -> None:
        """Raise the fault, if there is one."""
        if self._fault is not None:
            raise self._fault


class ModelCaches:
    """Workers' model caches over one folder; ``faults`` are the errors of versions that fail."""

    def __init__(self, settings: Settings, models: Path) -> None:
        self.faults: dict[str, Exception] = {}
        self.loads: list[str] = []
        self.trials: list[str] = []
        self.survived = True
        self.redis = Redis.from_url(settings.redis_url)
        self.catalog = ModelCatalog([models])
        self._settings = settings
        self._models = models

    def model_cache(self, worker_id: str = "one", *, default: str = "tiny", capacity: int = 2) -> (
        ModelCache[Pretended]
    ):  # fmt: skip
        """Return the model cache of one more worker, which is alive."""
        self.beat(worker_id)
        return ModelCache(
            ModelCatalog([self._models]),
            self._load,
            BundleStatuses(self.redis, worker_id),
            default=default,
            capacity=capacity,
            trial=self._try,
        )

    def beat(self, worker_id: str) -> None:
        """Send a worker's heartbeat."""
        leases = Leases(self.redis, worker_id, self._settings)
        leases.extend([], WorkerFacts(worker_id, "cpu", None))

    def die_loading(self, worker_id: str) -> None:
        """Have a worker die while it loads the default model, as its watchdog reports it."""

        class Died(BaseException):
            """The death of a worker."""

        def load(bundle: Bundle) -> Pretended:
            self.loads.append(bundle.version)
            ABANDON.run(self.redis, worker_id)
            raise Died

        model_cache = ModelCache(
            ModelCatalog([self._models]),
            load,
            BundleStatuses(self.redis, worker_id),
            default="tiny",
            capacity=1,
        )
        with pytest.raises(Died):
            model_cache.default()

    def statuses(self) -> dict[str, str]:
        """Return the bundle statuses as the API reads them: versions and their problems."""
        statuses = BundleStatuses(self.redis, "observer").read(self.catalog.bundles())
        return {key.split("@")[1].split(":")[0]: status for key, status in statuses.items()}

    def left_s(self, prefix: str) -> float:
        """Return the seconds until the one key with this prefix expires."""
        names: Any = self.redis.keys(prefix + "*")
        (name,) = names
        left: Any = self.redis.pttl(name)
        return int(left) / 1000

    def _load(self, bundle: Bundle) -> Pretended:
        self.loads.append(bundle.version)
        return Pretended(bundle.version, self.faults.get(bundle.version))

    def _try(self, folder: Path) -> bool:
        self.trials.append(folder.name)
        return self.survived


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with the tiny bundle in two versions."""
    write_tiny_bundle(tmp_path / "own-models", "1.0.0")
    write_tiny_bundle(tmp_path / "own-models", "1.1.0")
    return tmp_path / "own-models"


@pytest.fixture
def caches(settings: Settings, models: Path) -> ModelCaches:
    """The workers of this test."""
    return ModelCaches(settings, models)


def test_the_least_recently_used_model_is_removed(caches: ModelCaches, models: Path) -> None:
    """At most as many models as the capacity are loaded, and the one used last stays."""
    write_tiny_bundle(models, "1.2.0")
    model_cache = caches.model_cache(capacity=2)
    first = model_cache.predictor("tiny@1.0.0")
    model_cache.predictor("tiny@1.1.0")
    assert model_cache.predictor("tiny@1.0.0") is first
    model_cache.predictor("tiny@1.2.0")
    assert model_cache.predictor("tiny@1.0.0") is first
    assert caches.loads == ["1.0.0", "1.1.0", "1.2.0"]
    model_cache.predictor("tiny@1.1.0")
    assert caches.loads[-1] == "1.1.0"


def test_a_model_that_fails_is_not_tried_again_until_its_files_change(
    caches: ModelCaches, models: Path
) -> None:
    """A failed load is recorded with its reason for these files, and read by every worker."""
    caches.faults["1.1.0"] = ModelError("It has no layers.")
    one, other = caches.model_cache("one"), caches.model_cache("other")
    for model_cache in (one, one, other):
        with pytest.raises(ModelBroken, match=r"tiny@1.1.0 is broken: It has no layers"):
            model_cache.predictor("tiny@1.1.0")
    assert caches.loads == ["1.1.0"]
    assert caches.statuses() == {"1.1.0": "It has no layers."}
    caches.faults.clear()
    write_empty_weights(models / "tiny" / "1.1.0")
    assert one.predictor("tiny@1.1.0").version == "1.1.0"


def test_a_worker_that_starts_retries_what_others_could_not_run(caches: ModelCaches) -> None:
    """A bundle that lacked something on one machine is tried once by each later worker."""
    caches.faults["1.1.0"] = ModelError("It needs the extra monai.")
    one = caches.model_cache("one")
    for _ in range(4):
        one.refresh_models()
    assert caches.loads == ["1.0.0", "1.1.0"]
    two = caches.model_cache("two")
    for _ in range(2):
        two.refresh_models()
    assert caches.loads[2:] == ["1.1.0"]
    caches.faults.clear()
    three = caches.model_cache("three")
    three.refresh_models()
    assert caches.loads[3:] == ["1.1.0"]
    assert caches.statuses() == {"1.0.0": "", "1.1.0": ""}
    assert three.default().version == "1.1.0"


def test_the_message_of_a_foreign_error_is_not_shown(
    caches: ModelCaches, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of an error in a user's code only the class is shown; its message may have patient data."""
    caches.faults["1.1.0"] = ZeroDivisionError("Jane Doe")
    with pytest.raises(ModelNotReady, match="ZeroDivisionError") as failure:
        caches.model_cache().predictor("tiny@1.1.0")
    assert "Jane" not in failure.value.detail + "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("faulty", "served"), [([], "1.1.0"), (["1.1.0"], "1.0.0"), (["1.0.0"], "1.1.0")]
)
def test_the_default_is_the_newest_that_runs(
    caches: ModelCaches, faulty: list[str], served: str
) -> None:
    """A worker starts with the newest version of the default model that it can run."""
    caches.faults = {version: ModelError("broken") for version in faulty}
    assert caches.model_cache().default().version == served


def test_a_broken_default_does_not_stop_the_others(caches: ModelCaches, models: Path) -> None:
    """If no version of the default runs, another model is served; if none does, it raises why."""
    write_tiny_bundle(models, "3.0.0", name="other")
    caches.faults = {version: ModelError("broken") for version in ("1.0.0", "1.1.0")}
    assert caches.model_cache("one").default().version == "3.0.0"
    caches.faults["3.0.0"] = ModelError("broken too")
    write_empty_weights(models / "other" / "3.0.0")
    with pytest.raises(ModelBroken, match=r"tiny@1\.\d\.0 is broken"):
        caches.model_cache("other").default()


def test_a_missing_default_model_does_not_stop_a_worker(caches: ModelCaches) -> None:
    """A worker whose default model is missing serves another model."""
    assert caches.model_cache(default="missing").default().version == "1.1.0"


def test_a_new_model_is_tried_by_one_worker_and_drops_no_other(
    caches: ModelCaches, models: Path
) -> None:
    """One of two workers loads what no job has asked for, without dropping what is in use."""
    one, other = caches.model_cache("one"), caches.model_cache("other")
    used = one.default()
    for _ in range(3):
        one.refresh_models()
        other.refresh_models()
    assert caches.loads == ["1.1.0", "1.0.0"]
    assert caches.statuses() == {"1.0.0": "", "1.1.0": ""}
    drop(write_tiny_bundle(models.parent / "staged", "1.2.0"), models)
    one.refresh_models()
    assert caches.loads[-1] == "1.2.0"
    assert one.predictor("tiny@1.1.0") is used


def test_running_out_of_memory_is_not_reported(caches: ModelCaches) -> None:
    """A model without enough memory is not reported as broken; it is retried after a pause."""
    caches.faults["1.1.0"] = MemoryError()
    model_cache = caches.model_cache()
    with pytest.raises(ModelNotReady, match="no memory"):
        model_cache.predictor("tiny@1.1.0")
    for _ in range(4):
        model_cache.refresh_models()
    assert caches.loads == ["1.1.0", "1.0.0"]
    assert caches.statuses() == {"1.0.0": ""}
    caches.faults.clear()
    assert eventually(lambda: model_cache.predictor("tiny@1.1.0")).version == "1.1.0"
    assert caches.statuses() == {"1.0.0": "", "1.1.0": ""}


def eventually(load: Callable[[], Pretended]) -> Pretended:
    """Return the loaded model once the pause after a failure is over."""
    for _ in range(200):
        try:
            return load()
        except ModelNotReady:
            time.sleep(0.05)
    raise AssertionError("it did not load")


def test_an_unknown_error_is_this_workers_own(caches: ModelCaches) -> None:
    """A missing package, a disk fault or an unknown error does not mark the files as broken."""
    unable, able = caches.model_cache("unable"), caches.model_cache("able")
    for error in (ImportError("no monai"), MissingRequirement("no monai"), from_a_failing_disk()):
        caches.faults["1.1.0"] = error
        with pytest.raises(ModelNotReady):
            eventually_raises(unable)
        assert caches.redis.keys(keys.BUNDLE_FAULT + "*") == []
    caches.beat("unable")
    assert caches.statuses()["1.1.0"]
    caches.faults.clear()
    caches.beat("able")
    assert able.predictor("tiny@1.1.0").version == "1.1.0"
    assert caches.statuses()["1.1.0"] == ""


def eventually_raises(model_cache: ModelCache[Pretended]) -> None:
    """Load the newest version, waiting for the pause after the last try."""
    before = model_cache._bundle_statuses.own(model_cache._find("tiny@1.1.0"))
    time.sleep(before.pause_s if before else 0)
    model_cache.predictor("tiny@1.1.0")


def from_a_failing_disk() -> ModelError:
    """Return the error of reading weights from a disk that fails."""
    error = ModelError("There are no readable weights.")
    error.__cause__ = OSError(errno.EIO, os.strerror(errno.EIO))
    return error


def test_a_live_worker_that_runs_a_model_counts_more_than_any_other(caches: ModelCaches) -> None:
    """A model is broken only if no live worker runs it; results of dead workers do not count."""
    one, other = caches.model_cache("one"), caches.model_cache("other")
    one.predictor("tiny@1.1.0")
    caches.faults["1.1.0"] = ModelError("It has no layers.")
    with pytest.raises(ModelNotReady, match="no layers"):  # because another worker serves it
        other.predictor("tiny@1.1.0")
    assert caches.statuses()["1.1.0"] == ""
    ABANDON.run(caches.redis, "one")
    assert caches.statuses()["1.1.0"] == "It has no layers."
    with pytest.raises(ModelBroken, match="no layers"):
        other.predictor("tiny@1.1.0")

    third = caches.model_cache("third")
    caches.faults["1.0.0"] = ZeroDivisionError()
    with pytest.raises(ModelNotReady):
        third.predictor("tiny@1.0.0")
    assert "ZeroDivisionError" in caches.statuses()["1.0.0"]
    ABANDON.run(caches.redis, "third")
    assert "1.0.0" not in caches.statuses()


def test_an_incomplete_bundle_is_not_reported_as_broken(caches: ModelCaches, models: Path) -> None:
    """A job for a version that is being copied waits; one for a deleted version fails."""
    (models / "tiny" / "1.1.0" / "models" / "model.pt").write_bytes(b"PK and then no more of it")
    model_cache = caches.model_cache()
    with pytest.raises(ModelNotReady, match="on its way"):
        model_cache.predictor("tiny@1.1.0")
    with pytest.raises(ModelNotFound, match="no longer"):
        model_cache.predictor("tiny@7.0.0")
    assert caches.loads == []


def test_deaths_while_loading_keep_no_worker_from_starting(caches: ModelCaches) -> None:
    """After several deaths while loading a model, the next worker starts with it.

    The first successful load resets their count.
    """
    for number in range(DEATHS_BEFORE_TRIAL - 1):
        caches.die_loading(f"killed-{number}")
    assert caches.model_cache("next").default().version == "1.1.0"
    assert caches.trials == []
    assert caches.redis.keys(keys.LOADING + "*") == []
    assert caches.statuses() == {"1.1.0": ""}


def test_a_job_waits_for_a_model_whose_load_killed_a_worker(caches: ModelCaches) -> None:
    """After a death a running worker's next try is delayed, by a pause that grows to a bound."""
    caches.die_loading("killed-0")
    with pytest.raises(ModelNotReady, match="died"):
        caches.model_cache().predictor("tiny@1.1.0")
    assert 0 < caches.left_s(keys.LOADING_PAUSE) <= 1
    for number in range(1, 9):
        caches.die_loading(f"killed-{number}")
    assert 30 < caches.left_s(keys.LOADING_PAUSE) <= 60
    assert 0 < caches.left_s(keys.LOADING_DEATHS) <= 600


def test_a_stop_while_loading_counts_as_nothing(caches: ModelCaches) -> None:
    """A worker that stops by itself while it loads is not counted, and others may try at once."""

    def load(bundle: Bundle) -> Pretended:
        SIGN_OFF.run(caches.redis, "stopped")
        raise KeyboardInterrupt

    catalog, statuses = caches.catalog, BundleStatuses(caches.redis, "stopped")
    model_cache = ModelCache(catalog, load, statuses, default="tiny", capacity=1)
    with pytest.raises(KeyboardInterrupt):
        model_cache.refresh_models()
    ABANDON.run(caches.redis, "stopped")
    assert caches.redis.keys("voxelq:loading*") == []
    assert caches.redis.keys(keys.PROVING + "*") == []


def test_a_bundle_that_kills_its_workers_gets_a_trial(caches: ModelCaches) -> None:
    """A bundle that killed several workers is loaded in another process first, also at a start."""
    for number in range(DEATHS_BEFORE_TRIAL):
        caches.die_loading(f"killed-{number}")
    caches.survived = False
    model_cache = caches.model_cache("careful")
    assert model_cache.default().version == "1.0.0"
    assert caches.trials == ["1.1.0"]
    assert "ends the process" in caches.statuses()["1.1.0"]
    caches.survived = True
    later = caches.model_cache("later")
    assert eventually(lambda: later.predictor("tiny@1.1.0")).version == "1.1.0"
    assert caches.trials == ["1.1.0", "1.1.0"]


def test_a_loaded_model_is_served_while_its_folder_cannot_be_read(
    caches: ModelCaches, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the mount is away loaded models stay; a deleted bundle is removed from the cache."""
    model_cache = caches.model_cache()
    used = model_cache.predictor("tiny@1.1.0")
    models.rename(models.parent / "away")
    model_cache.refresh_models()
    assert model_cache.predictor("tiny@1.1.0") is used
    for ref in ("tiny@1.0.0", "tiny@9.9.9"):
        with pytest.raises(ModelNotReady, match="cannot be read"):
            model_cache.predictor(ref)
    (models.parent / "away").rename(models)
    monkeypatch.setattr("shared.bundles.bundle.FolderState.of", failing)
    model_cache.refresh_models()
    assert model_cache.predictor("tiny@1.1.0") is used
    monkeypatch.undo()
    model_cache.refresh_models()
    assert model_cache.predictor("tiny@1.1.0") is used

    (models / "tiny" / "1.1.0").rename(models.parent / "gone")
    assert model_cache.predictor("tiny@1.1.0") is used
    model_cache.refresh_models()
    with pytest.raises(ModelNotFound, match="no longer"):
        model_cache.predictor("tiny@1.1.0")
    assert caches.loads == ["1.1.0", "1.0.0"]  # which the refresh after the first move tried
    assert caches.statuses() == {"1.0.0": ""}


def failing(folder: Path) -> None:
    """Fail as a read of a folder on a failing disk does."""
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_models_are_served_without_redis(models: Path) -> None:
    """Models are loaded while Redis is away."""
    nowhere = Redis(port=1, retry=Retry(NoBackoff(), 0))
    catalog = ModelCatalog([models])
    model_cache = ModelCache(
        catalog, lambda bundle: Pretended(bundle.version, None), BundleStatuses(nowhere, "one"),
        default="tiny", capacity=1,
    )  # fmt: skip
    assert model_cache.default().version == "1.1.0"
    model_cache.refresh_models()
