"""The store's id, which is in Redis too."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from shared.errors import StoreFull, StoreUnavailable, WrongStore
from shared.queue import keys
from shared.queue.job_queue import JobQueue
from shared.settings import Settings
from shared.storage.identity import FILE_NAME, StoreIdentity
from shared.storage.store import ScanStore
from tests.conftest import Valkey
from tests.support.jobs import submission
from worker.queueing.connection import connect


@pytest.fixture
def redis(settings: Settings) -> Iterator[Redis]:
    """A client of this test's server."""
    with connect(settings) as opened:
        yield opened


@pytest.fixture
def store(settings: Settings) -> ScanStore:
    """The store of this test's queue, as an earlier process left it."""
    with connect(settings) as client:
        opened = ScanStore(settings.store_url)
        StoreIdentity(client, opened).check()
        return opened


@pytest.fixture
def elsewhere(tmp_path: Path) -> ScanStore:
    """A folder that is no store of this queue."""
    return ScanStore(f"file://{tmp_path}/elsewhere")


def test_a_new_store_is_known_to_redis(redis: Redis, store: ScanStore) -> None:
    """The first process gives the store its id, and every later one finds the same."""
    known = redis.get(keys.STORE)
    assert isinstance(known, bytes)
    assert known.decode() in store.read(FILE_NAME).decode()
    StoreIdentity(redis, store).check()
    assert redis.get(keys.STORE) == known


def test_processes_that_begin_together_agree(settings: Settings, redis: Redis) -> None:
    """If many processes find no id at the same moment, one creates it and all accept it."""
    store, faults = ScanStore(settings.store_url), []

    def check() -> None:
        try:
            with connect(settings) as client:
                StoreIdentity(client, store).check()
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=check) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    StoreIdentity(redis, store).check()


def test_an_empty_folder_is_refused(redis: Redis, store: ScanStore, elsewhere: ScanStore) -> None:
    """The empty folder of a missing mount is not accepted as the store."""
    for takes_scans in (True, False):
        with pytest.raises(WrongStore, match="Is it mounted"):
            StoreIdentity(redis, elsewhere, takes_scans=takes_scans).check()
    assert list(elsewhere.job_ids()) == []


def test_a_mount_that_goes_away_and_comes_back(
    redis: Redis, store: ScanStore, tmp_path: Path
) -> None:
    """A running process notices at once that its store is gone, and that it is back."""
    identity = StoreIdentity(redis, store, takes_scans=True)
    identity.check()
    (tmp_path / "store").rename(tmp_path / "away")
    with pytest.raises(WrongStore):
        identity.check()
    with pytest.raises(WrongStore):
        identity.probe()
    (tmp_path / "away").rename(tmp_path / "store")
    identity.probe()


async def test_another_store_is_taken_while_there_are_no_jobs(
    redis: Redis, store: ScanStore, elsewhere: ScanStore, queue: JobQueue
) -> None:
    """A replaced store is accepted while the queue has no jobs, else it is refused.

    Only the API decides so, for scans are uploaded through it.
    """
    redis.rename(keys.STORE, "aside")
    StoreIdentity(redis, elsewhere).check()
    redis.rename("aside", keys.STORE)
    with pytest.raises(WrongStore):
        StoreIdentity(redis, elsewhere).check()
    StoreIdentity(redis, elsewhere, takes_scans=True).check()
    StoreIdentity(redis, elsewhere).check()
    await queue.submit(submission())
    for takes_scans in (True, False):
        with pytest.raises(WrongStore, match="another queue"):
            StoreIdentity(redis, store, takes_scans=takes_scans).check()
    StoreIdentity(redis, store).adopt()
    StoreIdentity(redis, store).check()


def test_an_emptied_redis_learns_of_the_store_again(redis: Redis, store: ScanStore) -> None:
    """A store is accepted again after Redis lost its data."""
    identity = StoreIdentity(redis, store)
    identity.check()
    before = redis.get(keys.STORE)
    redis.flushall()
    StoreIdentity(redis, store).check()
    identity.check()
    assert redis.get(keys.STORE) == before


def test_a_creator_that_died_wedges_nothing(redis: Redis, settings: Settings) -> None:
    """A process that ends between its two writes leaves a store that another one creates."""
    redis.set(keys.STORE, "creating", px=100)
    StoreIdentity(redis, ScanStore(settings.store_url)).check()
    assert redis.get(keys.STORE) not in (None, b"creating")


def test_redis_away_is_no_fault_of_the_store(
    settings: Settings, store: ScanStore, valkey: Valkey
) -> None:
    """While Redis does not answer, its last id is used, and a missing store is still noticed."""
    with connect(settings) as client:
        new, old = (StoreIdentity(client, store) for _ in range(2))
        old.check()
        valkey.kill()
        try:
            new.check()
            old.check()
            old._redis_id_until = 0.0
            old.check()
        finally:
            valkey.start()


def test_a_damaged_file_is_reported(redis: Redis, store: ScanStore) -> None:
    """An id that cannot be read makes the store unavailable, and is never replaced."""
    for content in (b"", b"[]", b"{}", b"\xff"):
        store.replace(FILE_NAME, content)
        with pytest.raises(StoreUnavailable, match="damaged"):
            StoreIdentity(redis, store).check()


def test_a_probe_leaves_nothing(redis: Redis, store: ScanStore, tmp_path: Path) -> None:
    """A probe writes, reads and deletes a file of its own."""
    StoreIdentity(redis, store).probe()
    assert [path.name for path in (tmp_path / "store").iterdir()] == [FILE_NAME]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(28, "no space"), StoreFull),
        (OSError(5, "input/output error"), StoreUnavailable),
        (OSError(30, "read-only"), StoreUnavailable),
    ],
)
def test_a_probe_finds_faults_that_a_check_does_not(
    redis: Redis,
    store: ScanStore,
    monkeypatch: pytest.MonkeyPatch,
    error: OSError,
    expected: type[Exception],
) -> None:
    """A store that can be read but not written passes the check and fails the probe."""
    identity = StoreIdentity(redis, store)
    open_file = type(store._fs)._open

    def stumble(self: object, path: str, mode: str = "rb", **options: object) -> object:
        if mode == "wb":
            raise error
        return open_file(self, path, mode, **options)

    monkeypatch.setattr(type(store._fs), "_open", stumble)
    identity.check()
    with pytest.raises(expected):
        identity.probe()


def test_a_check_is_fast(redis: Redis, store: ScanStore) -> None:
    """A thousand checks take no more than a few seconds even on a slow machine."""
    identity = StoreIdentity(redis, store)
    began_s = time.monotonic()
    for _ in range(1000):
        identity.check()
    assert time.monotonic() - began_s < 5


def test_a_relative_url_is_warned_of(
    redis: Redis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A relative URL is logged, because it means another store in another folder."""
    monkeypatch.chdir(tmp_path)
    StoreIdentity(redis, ScanStore("file://./store"))
    assert str(tmp_path / "store") in capsys.readouterr().out
