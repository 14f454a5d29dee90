"""One compute mode for all workers with one bundle and kind of device, over a real server."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.bundles.bundle import Bundle, read_bundle
from shared.queue import keys
from shared.settings import Settings
from tests.support.bundles import write_tiny_bundle
from worker.device.compute_mode import PLAIN, ComputeMode
from worker.device.compute_options import ComputeOptions
from worker.models.brain_tumor import predictor as predictor_module
from worker.models.brain_tumor.predictor import TumorPredictor
from worker.models.cache import open_model_cache
from worker.models.compute_modes import RedisComputeMode

LAST = ComputeMode("fp32", "channels_last_3d")
OPTIONS = ComputeOptions(device="cpu", precision="fp32", threads=1)


@pytest.fixture
def redis(settings: Settings) -> Iterator[Redis]:
    """A client of this test's server."""
    with Redis.from_url(settings.redis_url) as opened:
        yield opened


@pytest.fixture
def bundle(models_dir: Path) -> Bundle:
    """The tiny bundle."""
    return read_bundle(write_tiny_bundle(models_dir))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[ComputeMode]:
    """The results of the next measurements, one entry for each."""
    results: list[ComputeMode] = []

    def measure(modes: Sequence[ComputeMode], *_: object) -> ComputeMode:
        assert results[0] in modes
        return results.pop(0)

    monkeypatch.setattr(predictor_module, "measure_modes", measure)
    return results


class Overtaken(RedisComputeMode):
    """Finds no mode at first, as if another worker stored one while this one measures."""

    is_first = True

    def get(self) -> ComputeMode | None:
        """Return None once, and then the stored mode."""
        if self.is_first:
            self.is_first = False
            return None
        return super().get()


def warm(
    bundle: Bundle,
    redis: Redis,
    options: ComputeOptions = OPTIONS,
    kind: type[RedisComputeMode] = RedisComputeMode,
) -> TumorPredictor:
    """Return the bundle's model as one more worker loads it and warms it up."""
    assert bundle.contents is not None
    predictor = TumorPredictor.load(bundle.contents, options, kind(redis, bundle, options))
    predictor.warm_up()
    return predictor


def test_workers_and_restarts_use_the_first_workers_mode(
    bundle: Bundle, redis: Redis, measured: list[ComputeMode]
) -> None:
    """The first worker measures; all that load the same files later use its mode unmeasured."""
    measured[:] = [LAST, PLAIN]
    assert [warm(bundle, redis).compute_mode for _ in range(3)] == [LAST] * 3
    assert measured == [PLAIN]


def test_of_two_that_measure_at_once_the_first_to_write_wins(
    bundle: Bundle, redis: Redis, measured: list[ComputeMode]
) -> None:
    """A worker that measured another mode meanwhile uses the stored one."""
    RedisComputeMode(redis, bundle, OPTIONS).keep(LAST)
    measured[:] = [PLAIN]
    assert warm(bundle, redis, kind=Overtaken).compute_mode == LAST
    assert measured == []


def test_a_mode_that_this_device_cannot_run_is_measured_again(
    bundle: Bundle,
    redis: Redis,
    measured: list[ComputeMode],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The worker uses what it measures itself, warns, and changes nothing for the others."""
    store = RedisComputeMode(redis, bundle, OPTIONS)
    store.keep(LAST)
    use = TumorPredictor._use

    def lacks_last(self: TumorPredictor, mode: ComputeMode) -> None:
        if mode == LAST:
            raise NotImplementedError("no such kernel")
        use(self, mode)

    monkeypatch.setattr(TumorPredictor, "_use", lacks_last)
    measured[:] = [PLAIN]
    assert warm(bundle, redis).compute_mode == PLAIN
    assert store.get() == LAST
    assert "kept_compute_mode_not_usable" in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "change", ["other files", "other precision", "other version", "unreadable entry"]
)
def test_a_mode_measured_for_other_conditions_is_not_used(
    bundle: Bundle,
    redis: Redis,
    measured: list[ComputeMode],
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    """A mode belongs to the bundle's files, the options, the device and VoxelQ's version."""
    measured[:] = [LAST, PLAIN]
    warm(bundle, redis)
    options = OPTIONS
    if change == "other files":
        (bundle.folder / "configs" / "notes.txt").write_text("changed")
        bundle = read_bundle(bundle.folder)
    elif change == "other precision":
        options = ComputeOptions(device="cpu", threads=1)
    elif change == "other version":
        monkeypatch.setattr("worker.models.compute_modes.VERSION", "9.9.9")
    else:
        (field,) = redis.hkeys(keys.COMPUTE_MODES)
        redis.hset(keys.COMPUTE_MODES, field, '{"precision": "fp4"}')
    assert warm(bundle, redis, options).compute_mode == PLAIN
    assert measured == []


def test_without_redis_each_worker_measures(bundle: Bundle, measured: list[ComputeMode]) -> None:
    """A mode that cannot be stored is used all the same."""
    nowhere = Redis(port=1, retry=Retry(NoBackoff(), 0))
    measured[:] = [LAST, PLAIN]
    assert [warm(bundle, nowhere).compute_mode for _ in range(2)] == [LAST, PLAIN]


def test_a_workers_model_cache_keeps_the_mode(
    bundle: Bundle, settings: Settings, redis: Redis, measured: list[ComputeMode]
) -> None:
    """Two workers' model caches over one queue load the bundle in one mode."""
    measured[:] = [LAST]
    options = {"device": "cpu", "precision": "fp32", "default_model": bundle.name}
    own = settings.model_copy(update=options)
    caches = [open_model_cache(own, redis, name) for name in ("one", "two")]
    assert [cache.predictor(bundle.ref).compute_mode for cache in caches] == [LAST] * 2
    assert redis.hlen(keys.COMPUTE_MODES) == 1
