"""The cache of loaded models, over a real server and with models that only pretend to load."""

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


class Room:
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
            """A worker's end; nothing in it runs any more."""

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
        """Return what the API reads: versions, and their problems."""
        statuses = BundleStatuses(self.redis, "observer").read(self.catalog.bundles())
        return {key.split("@")[1].split(":")[0]: status for key, status in statuses.items()}

    def left_s(self, prefix: str) -> float:
        """Return the seconds until the one key that begins so expires."""
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
def room(settings: Settings, models: Path) -> Room:
    """The workers of this test."""
    return Room(settings, models)


def test_the_least_recently_used_goes(room: Room, models: Path) -> None:
    """Never more models than the capacity are held, and one in use stays."""
    write_tiny_bundle(models, "1.2.0")
    model_cache = room.model_cache(capacity=2)
    first = model_cache.predictor("tiny@1.0.0")
    model_cache.predictor("tiny@1.1.0")
    assert model_cache.predictor("tiny@1.0.0") is first
    model_cache.predictor("tiny@1.2.0")
    assert model_cache.predictor("tiny@1.0.0") is first
    assert room.loads == ["1.0.0", "1.1.0", "1.2.0"]
    model_cache.predictor("tiny@1.1.0")
    assert room.loads[-1] == "1.1.0"


def test_a_model_that_fails_is_not_tried_again_until_its_files_change(
    room: Room, models: Path
) -> None:
    """What does not load is remembered with its reason, by every worker, for these very files."""
    room.faults["1.1.0"] = ModelError("It has no layers.")
    one, other = room.model_cache("one"), room.model_cache("other")
    for model_cache in (one, one, other):
        with pytest.raises(ModelBroken, match=r"tiny@1.1.0 is broken: It has no layers"):
            model_cache.predictor("tiny@1.1.0")
    assert room.loads == ["1.1.0"]
    assert room.statuses() == {"1.1.0": "It has no layers."}
    room.faults.clear()
    write_empty_weights(models / "tiny" / "1.1.0")
    assert one.predictor("tiny@1.1.0").version == "1.1.0"


def test_a_worker_that_starts_doubts_what_others_could_not_run(room: Room) -> None:
    """What failed for want of something on the machine is tried once by each later worker."""
    room.faults["1.1.0"] = ModelError("It needs the extra monai.")
    one = room.model_cache("one")
    for _ in range(4):
        one.refresh_models()
    assert room.loads == ["1.0.0", "1.1.0"]
    two = room.model_cache("two")
    for _ in range(2):
        two.refresh_models()
    assert room.loads[2:] == ["1.1.0"]
    room.faults.clear()
    three = room.model_cache("three")
    three.refresh_models()
    assert room.loads[3:] == ["1.1.0"]
    assert room.statuses() == {"1.0.0": "", "1.1.0": ""}
    assert three.default().version == "1.1.0"


def test_the_message_of_a_foreign_error_is_not_shown(
    room: Room, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of an error in a user's own code only the class is shown; its message may quote anything."""
    room.faults["1.1.0"] = ZeroDivisionError("Jane Doe")
    with pytest.raises(ModelNotReady, match="ZeroDivisionError") as failure:
        room.model_cache().predictor("tiny@1.1.0")
    assert "Jane" not in failure.value.detail + "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("faulty", "served"), [([], "1.1.0"), (["1.1.0"], "1.0.0"), (["1.0.0"], "1.1.0")]
)
def test_the_default_is_the_newest_that_runs(room: Room, faulty: list[str], served: str) -> None:
    """A worker starts with the newest version of the default model that it can run."""
    room.faults = {version: ModelError("broken") for version in faulty}
    assert room.model_cache().default().version == served


def test_a_broken_default_does_not_stop_the_others(room: Room, models: Path) -> None:
    """With no version of the default running, another model is served; with none, the words why."""
    write_tiny_bundle(models, "3.0.0", name="other")
    room.faults = {version: ModelError("broken") for version in ("1.0.0", "1.1.0")}
    assert room.model_cache("one").default().version == "3.0.0"
    room.faults["3.0.0"] = ModelError("broken too")
    write_empty_weights(models / "other" / "3.0.0")
    with pytest.raises(ModelBroken, match=r"tiny@1\.\d\.0 is broken"):
        room.model_cache("other").default()


def test_a_missing_default_model_does_not_stop_a_worker(room: Room) -> None:
    """A worker whose default model is not there serves what is there."""
    assert room.model_cache(default="missing").default().version == "1.1.0"


def test_what_is_new_is_tried_by_one_worker_and_kept_last(room: Room, models: Path) -> None:
    """One of two workers loads what no job has asked for, without dropping what is in use."""
    one, other = room.model_cache("one"), room.model_cache("other")
    used = one.default()
    for _ in range(3):
        one.refresh_models()
        other.refresh_models()
    assert room.loads == ["1.1.0", "1.0.0"]
    assert room.statuses() == {"1.0.0": "", "1.1.0": ""}
    drop(write_tiny_bundle(models.parent / "staged", "1.2.0"), models)
    one.refresh_models()
    assert room.loads[-1] == "1.2.0"
    assert one.predictor("tiny@1.1.0") is used


def test_running_out_of_memory_is_not_reported(room: Room) -> None:
    """A model that finds no memory is not called broken; it is tried again after a pause."""
    room.faults["1.1.0"] = MemoryError()
    model_cache = room.model_cache()
    with pytest.raises(ModelNotReady, match="no memory"):
        model_cache.predictor("tiny@1.1.0")
    for _ in range(4):
        model_cache.refresh_models()
    assert room.loads == ["1.1.0", "1.0.0"]
    assert room.statuses() == {"1.0.0": ""}
    room.faults.clear()
    assert eventually(lambda: model_cache.predictor("tiny@1.1.0")).version == "1.1.0"
    assert room.statuses() == {"1.0.0": "", "1.1.0": ""}


def eventually(load: Callable[[], Pretended]) -> Pretended:
    """Return what loads once the pause after a failure is over."""
    for _ in range(200):
        try:
            return load()
        except ModelNotReady:
            time.sleep(0.05)
    raise AssertionError("it did not load")


def test_an_unknown_error_is_this_workers_own(room: Room) -> None:
    """A package that is missing, a sick disk or an error of any kind says nothing of the files."""
    unable, able = room.model_cache("unable"), room.model_cache("able")
    for error in (ImportError("no monai"), MissingRequirement("no monai"), from_a_sick_disk()):
        room.faults["1.1.0"] = error
        with pytest.raises(ModelNotReady):
            eventually_raises(unable)
        assert room.redis.keys(keys.BUNDLE_FAULT + "*") == []
    room.beat("unable")
    assert room.statuses()["1.1.0"]
    room.faults.clear()
    room.beat("able")
    assert able.predictor("tiny@1.1.0").version == "1.1.0"
    assert room.statuses()["1.1.0"] == ""


def eventually_raises(model_cache: ModelCache[Pretended]) -> None:
    """Load the newest version, waiting for the pause after the last try."""
    before = model_cache._bundle_statuses.own(model_cache._find("tiny@1.1.0"))
    time.sleep(before.pause_s if before else 0)
    model_cache.predictor("tiny@1.1.0")


def from_a_sick_disk() -> ModelError:
    """What a reader of weights raises when the disk fails under it."""
    error = ModelError("There are no readable weights.")
    error.__cause__ = OSError(errno.EIO, os.strerror(errno.EIO))
    return error


def test_a_live_worker_that_runs_a_model_counts_more_than_any_other(room: Room) -> None:
    """Broken is only what no live worker runs; what a dead one ran, or could not, is history."""
    one, other = room.model_cache("one"), room.model_cache("other")
    one.predictor("tiny@1.1.0")
    room.faults["1.1.0"] = ModelError("It has no layers.")
    with pytest.raises(ModelNotReady, match="no layers"):  # for another worker serves it
        other.predictor("tiny@1.1.0")
    assert room.statuses()["1.1.0"] == ""
    ABANDON.run(room.redis, "one")
    assert room.statuses()["1.1.0"] == "It has no layers."
    with pytest.raises(ModelBroken, match="no layers"):
        other.predictor("tiny@1.1.0")

    third = room.model_cache("third")
    room.faults["1.0.0"] = ZeroDivisionError()
    with pytest.raises(ModelNotReady):
        third.predictor("tiny@1.0.0")
    assert "ZeroDivisionError" in room.statuses()["1.0.0"]
    ABANDON.run(room.redis, "third")
    assert "1.0.0" not in room.statuses()


def test_a_bundle_on_its_way_is_not_called_broken(room: Room, models: Path) -> None:
    """A job for a version that is being copied waits; one for a deleted version fails."""
    (models / "tiny" / "1.1.0" / "models" / "model.pt").write_bytes(b"PK and then no more of it")
    model_cache = room.model_cache()
    with pytest.raises(ModelNotReady, match="on its way"):
        model_cache.predictor("tiny@1.1.0")
    with pytest.raises(ModelNotFound, match="no longer"):
        model_cache.predictor("tiny@7.0.0")
    assert room.loads == []


def test_deaths_while_loading_keep_no_worker_from_starting(room: Room) -> None:
    """However many workers were killed as they loaded a model, the next one starts with it.

    The first good load makes all of them forgotten.
    """
    for number in range(DEATHS_BEFORE_TRIAL - 1):
        room.die_loading(f"killed-{number}")
    assert room.model_cache("next").default().version == "1.1.0"
    assert room.trials == []
    assert room.redis.keys(keys.LOADING + "*") == []
    assert room.statuses() == {"1.1.0": ""}


def test_a_job_waits_a_little_for_a_model_that_a_worker_died_of(room: Room) -> None:
    """After a death the next try that is no start is put off, by a pause that grows to a bound."""
    room.die_loading("killed-0")
    with pytest.raises(ModelNotReady, match="died"):
        room.model_cache().predictor("tiny@1.1.0")
    assert 0 < room.left_s(keys.LOADING_PAUSE) <= 1
    for number in range(1, 9):
        room.die_loading(f"killed-{number}")
    assert 30 < room.left_s(keys.LOADING_PAUSE) <= 60
    assert 0 < room.left_s(keys.LOADING_DEATHS) <= 600


def test_a_stop_while_loading_counts_as_nothing(room: Room) -> None:
    """A worker that leaves by itself while it loads is no hint, and lets others try at once."""

    def load(bundle: Bundle) -> Pretended:
        SIGN_OFF.run(room.redis, "stopped")
        raise KeyboardInterrupt

    catalog, statuses = room.catalog, BundleStatuses(room.redis, "stopped")
    model_cache = ModelCache(catalog, load, statuses, default="tiny", capacity=1)
    with pytest.raises(KeyboardInterrupt):
        model_cache.refresh_models()
    ABANDON.run(room.redis, "stopped")
    assert room.redis.keys("voxelq:loading*") == []
    assert room.redis.keys(keys.PROVING + "*") == []


def test_a_bundle_that_ends_its_workers_is_tried_apart(room: Room) -> None:
    """What several workers died of is first loaded in another process, at a start as well."""
    for number in range(DEATHS_BEFORE_TRIAL):
        room.die_loading(f"killed-{number}")
    room.survived = False
    model_cache = room.model_cache("careful")
    assert model_cache.default().version == "1.0.0"
    assert room.trials == ["1.1.0"]
    assert "ends the process" in room.statuses()["1.1.0"]
    room.survived = True
    later = room.model_cache("later")
    assert eventually(lambda: later.predictor("tiny@1.1.0")).version == "1.1.0"
    assert room.trials == ["1.1.0", "1.1.0"]


def test_a_loaded_model_is_served_while_its_folder_cannot_be_read(
    room: Room, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mount that is gone for a moment takes nothing away; a bundle that is gone is let go."""
    model_cache = room.model_cache()
    used = model_cache.predictor("tiny@1.1.0")
    models.rename(models.parent / "away")
    model_cache.refresh_models()
    assert model_cache.predictor("tiny@1.1.0") is used
    for ref in ("tiny@1.0.0", "tiny@9.9.9"):
        with pytest.raises(ModelNotReady, match="cannot be read"):
            model_cache.predictor(ref)
    (models.parent / "away").rename(models)
    monkeypatch.setattr("shared.bundles.bundle.FolderState.of", sick)
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
    assert room.loads == ["1.1.0", "1.0.0"]  # which the look after the first move tried
    assert room.statuses() == {"1.0.0": ""}


def sick(folder: Path) -> None:
    """Look at a folder on a disk that fails."""
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_models_are_served_without_redis(models: Path) -> None:
    """Redis being away keeps no model from being loaded."""
    nowhere = Redis(port=1, retry=Retry(NoBackoff(), 0))
    catalog = ModelCatalog([models])
    model_cache = ModelCache(
        catalog, lambda bundle: Pretended(bundle.version, None), BundleStatuses(nowhere, "one"),
        default="tiny", capacity=1,
    )  # fmt: skip
    assert model_cache.default().version == "1.1.0"
    model_cache.refresh_models()
