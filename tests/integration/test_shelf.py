"""The shelf of loaded models, over a real Valkey and with models that only pretend to load."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared import keys
from shared.catalog import ModelCatalog
from shared.errors import ModelBroken, ModelError, ModelNotFound, ModelNotReady
from shared.scripts import ABANDON
from shared.settings import Settings
from tests.bundles import drop, write_empty_weights, write_tiny_bundle
from worker.shelf import Shelf
from worker.verdicts import Verdicts


class Pretended:
    """A model that may fail to warm up."""

    def __init__(self, folder: Path, fault: Exception | None) -> None:
        self.version = folder.name
        self._fault = fault

    def warm_up(self) -> None:
        """Fail as told."""
        if self._fault is not None:
            raise self._fault


class Room:
    """Workers' shelves over one folder; ``faults`` says which versions fail, and how."""

    def __init__(self, settings: Settings, models: Path) -> None:
        self.faults: dict[str, Exception] = {}
        self.loads: list[str] = []
        self.redis = Redis.from_url(settings.redis_url)
        self._models = models

    def shelf(self, worker_id: str = "one", *, default: str = "tiny", capacity: int = 2) -> (
        Shelf[Pretended]
    ):  # fmt: skip
        """Return the shelf of one more worker."""
        catalog, verdicts = ModelCatalog([self._models]), Verdicts(self.redis, worker_id)
        return Shelf(catalog, self._load, verdicts, default=default, capacity=capacity)

    def _load(self, folder: Path) -> Pretended:
        self.loads.append(folder.name)
        return Pretended(folder, self.faults.get(folder.name))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with the tiny bundle in two versions."""
    write_tiny_bundle(tmp_path / "shelf", "1.0.0")
    write_tiny_bundle(tmp_path / "shelf", "1.1.0")
    return tmp_path / "shelf"


@pytest.fixture
def room(settings: Settings, models: Path) -> Room:
    """The workers of this test."""
    return Room(settings, models)


def verdicts(redis: Redis) -> dict[str, str]:
    """Return what Redis holds for other processes: versions, and what is wrong with them."""
    found: dict[str, str] = {}
    for name in redis.scan_iter(keys.VERDICT + "*"):
        told: Any = redis.get(name)
        found[name.decode().split("@")[1].split(":")[0]] = told.decode()
    return found


def test_the_least_recently_used_goes(room: Room, models: Path) -> None:
    """Never more models than the capacity are held, and one in use stays."""
    write_tiny_bundle(models, "1.2.0")
    shelf = room.shelf(capacity=2)
    first = shelf.predictor("tiny@1.0.0")
    shelf.predictor("tiny@1.1.0")
    assert shelf.predictor("tiny@1.0.0") is first
    shelf.predictor("tiny@1.2.0")
    assert shelf.predictor("tiny@1.0.0") is first
    assert room.loads == ["1.0.0", "1.1.0", "1.2.0"]
    shelf.predictor("tiny@1.1.0")
    assert room.loads[-1] == "1.1.0"


def test_a_model_that_fails_is_not_tried_again_until_its_files_change(
    room: Room, models: Path
) -> None:
    """What does not load is remembered with its reason, by every worker, for these very files."""
    room.faults["1.1.0"] = ModelError("It has no layers.")
    one, other = room.shelf("one"), room.shelf("other")
    for shelf in (one, one, other):
        with pytest.raises(ModelBroken, match=r"tiny@1.1.0 is broken: It has no layers"):
            shelf.predictor("tiny@1.1.0")
    assert room.loads == ["1.1.0"]
    assert verdicts(room.redis) == {"1.1.0": "It has no layers."}
    room.faults.clear()
    write_empty_weights(models / "tiny" / "1.1.0")
    assert one.predictor("tiny@1.1.0").version == "1.1.0"


def test_a_worker_that_starts_doubts_what_others_could_not_run(room: Room) -> None:
    """What failed for want of something on the machine is tried once by each later worker."""
    room.faults["1.1.0"] = ModelError("It needs the extra monai.")
    one = room.shelf("one")
    for _ in range(4):
        one.tend()
    assert room.loads == ["1.0.0", "1.1.0"]
    two = room.shelf("two")
    for _ in range(2):
        two.tend()
    assert room.loads[2:] == ["1.1.0"]
    room.faults.clear()
    three = room.shelf("three")
    three.tend()
    assert room.loads[3:] == ["1.1.0"]
    assert verdicts(room.redis) == {"1.0.0": "", "1.1.0": ""}
    assert three.default().version == "1.1.0"


def test_words_of_a_foreign_error_are_not_shown(
    room: Room, capfd: pytest.CaptureFixture[str]
) -> None:
    """An error of a user's own code is told by its kind, for its words may quote anything."""
    room.faults["1.1.0"] = ZeroDivisionError("Jane Doe")
    with pytest.raises(ModelBroken, match="ZeroDivisionError") as failure:
        room.shelf().predictor("tiny@1.1.0")
    assert "Jane" not in failure.value.detail + "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("faulty", "served"), [([], "1.1.0"), (["1.1.0"], "1.0.0"), (["1.0.0"], "1.1.0")]
)
def test_the_default_is_the_newest_that_runs(room: Room, faulty: list[str], served: str) -> None:
    """A worker starts with the newest version of the default model that it can run."""
    room.faults = {version: ModelError("broken") for version in faulty}
    assert room.shelf().default().version == served


def test_a_broken_default_does_not_stop_the_others(room: Room, models: Path) -> None:
    """With no version of the default running, another model is served; with none, the words why."""
    write_tiny_bundle(models, "3.0.0", name="other")
    room.faults = {version: ModelError("broken") for version in ("1.0.0", "1.1.0")}
    assert room.shelf("one").default().version == "3.0.0"
    room.faults["3.0.0"] = ModelError("broken too")
    write_empty_weights(models / "other" / "3.0.0")
    with pytest.raises(ModelBroken, match=r"tiny@1\.\d\.0 is broken"):
        room.shelf("other").default()


def test_a_default_that_nobody_has_is_no_reason_to_stop(room: Room) -> None:
    """A worker whose default model is not there serves what is there."""
    assert room.shelf(default="nobody").default().version == "1.1.0"


def test_what_is_new_is_tried_by_one_worker_and_kept_last(room: Room, models: Path) -> None:
    """One of two workers loads what nobody has asked for, without pushing out what is in use."""
    one, other = room.shelf("one"), room.shelf("other")
    used = one.default()
    for _ in range(3):
        one.tend()
        other.tend()
    assert room.loads == ["1.1.0", "1.0.0"]
    assert verdicts(room.redis) == {"1.0.0": "", "1.1.0": ""}
    drop(write_tiny_bundle(models.parent / "staged", "1.2.0"), models)
    one.tend()
    assert room.loads[-1] == "1.2.0"
    assert one.predictor("tiny@1.1.0") is used


def test_want_of_memory_is_no_verdict(room: Room) -> None:
    """A model that finds no memory is not called broken; its jobs may be tried again."""
    room.faults["1.1.0"] = MemoryError()
    shelf = room.shelf()
    with pytest.raises(ModelNotReady, match="no memory"):
        shelf.predictor("tiny@1.1.0")
    for _ in range(4):
        shelf.tend()
    assert room.loads == ["1.1.0", "1.0.0", "1.1.0"]  # and for a while it is let be
    assert verdicts(room.redis) == {"1.0.0": ""}
    room.faults.clear()
    assert shelf.predictor("tiny@1.1.0").version == "1.1.0"


def test_a_bundle_on_its_way_is_not_called_broken(room: Room, models: Path) -> None:
    """A job for a version that is being copied is put off; one for a version gone is told so."""
    (models / "tiny" / "1.1.0" / "models" / "model.pt").write_bytes(b"PK and then no more of it")
    shelf = room.shelf()
    with pytest.raises(ModelNotReady, match="on its way"):
        shelf.predictor("tiny@1.1.0")
    with pytest.raises(ModelNotFound, match="no longer"):
        shelf.predictor("tiny@7.0.0")
    assert room.loads == []


def test_a_bundle_that_ends_its_workers_is_tried_twice(room: Room, models: Path) -> None:
    """Two workers that die of loading a bundle are enough: the third serves without it."""

    class Died(BaseException):
        """A worker's end; nothing in it runs any more."""

    def die(redis: Redis, worker_id: str) -> Callable[[Path], Pretended]:
        def load(folder: Path) -> Pretended:
            room.loads.append(folder.name)
            ABANDON.run(redis, worker_id)  # what its watchdog does next
            raise Died

        return load

    for worker_id in ("one", "two"):
        catalog, told = ModelCatalog([models]), Verdicts(room.redis, worker_id)
        shelf = Shelf(catalog, die(room.redis, worker_id), told, default="tiny", capacity=1)
        with pytest.raises(Died):
            shelf.default()
    third = room.shelf("three")
    assert third.default().version == "1.0.0"
    assert room.loads == ["1.1.0", "1.1.0", "1.0.0"]
    assert verdicts(room.redis)["1.1.0"] == "Loading it ended 2 workers."
    assert room.redis.hlen(keys.LOADING) == 0


def test_models_are_served_without_redis(models: Path) -> None:
    """Redis being away keeps no model from being loaded."""
    nowhere = Redis(port=1, retry=Retry(NoBackoff(), 0))
    catalog = ModelCatalog([models])
    shelf = Shelf(
        catalog, lambda folder: Pretended(folder, None), Verdicts(nowhere, "one"),
        default="tiny", capacity=1,
    )  # fmt: skip
    assert shelf.default().version == "1.1.0"
    shelf.tend()
