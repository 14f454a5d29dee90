"""Retention: which jobs and files are purged, which are kept, also after faults."""

import asyncio
import errno
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ResponseError
from ulid import ULID

from shared.errors import JobNotFound
from shared.queue import keys
from shared.queue.job_queue import JobQueue
from shared.settings import Settings
from shared.storage.job_records import JobRecord, JobRecords
from shared.storage.store import ScanStore
from tests.support.jobs import submission
from worker.queueing.connection import connect
from worker.queueing.retention import BATCH, ORPHANS_KEPT_S, Retention

DAY_S = 86_400.0
MANY = 3 * BATCH


@pytest.fixture
def redis(settings: Settings) -> Iterator[Redis]:
    """A client of this test's server."""
    with connect(settings) as opened:
        yield opened


@pytest.fixture
def retention(redis: Redis, store: ScanStore, settings: Settings) -> Retention:
    """Retention with this test's settings."""
    return Retention(redis, store, settings)


def age(redis: Redis, job_ids: list[str], seconds: float) -> None:
    """Move the end of jobs this many seconds into the past."""
    for job_id in job_ids:
        redis.zincrby(keys.ENDED, -seconds, job_id)


async def ended(queue: JobQueue, store: ScanStore, count: int) -> list[str]:
    """Return the ids of cancelled jobs with files, oldest first."""
    ids = []
    for _ in range(count):
        submitted = submission()
        store.write(store.scan_key(submitted.id, "scan", gzipped=False), b"volume")
        await queue.submit(submitted)
        await queue.cancel(submitted.id)
        ids.append(submitted.id)
    return ids


def old_id(seconds: float) -> str:
    """Return the id of an upload that began this many seconds ago."""
    return str(ULID.from_timestamp(time.time() - seconds))


async def test_only_expired_jobs_are_purged(
    queue: JobQueue, redis: Redis, store: ScanStore, retention: Retention
) -> None:
    """An ended job older than RETENTION_S is purged with its files; a live one is kept."""
    (over,) = await ended(queue, store, 1)
    live = submission(id=old_id(30 * DAY_S))
    store.write(store.scan_key(live.id, "scan", gzipped=False), b"volume")
    await queue.submit(live)
    assert retention.purge_expired() == 0
    age(redis, [over], 8 * DAY_S)
    assert retention.purge_expired() == 1
    with pytest.raises(JobNotFound):
        await queue.get(over)
    assert store.file_names(over) == []
    assert (await queue.get(live.id)).position == 0
    assert store.file_names(live.id) == ["scan.nii"]


async def test_one_round_purges_all_expired_jobs(
    queue: JobQueue, redis: Redis, store: ScanStore, retention: Retention
) -> None:
    """One round purges all expired jobs, for any number of them."""
    ids = await ended(queue, store, MANY)
    age(redis, ids, 8 * DAY_S)
    assert retention.purge_expired() == MANY
    assert list(store.job_ids()) == []
    assert redis.zcard(keys.INDEX) == 0


async def test_terminal_jobs_are_bounded_in_number(
    queue: JobQueue, redis: Redis, store: ScanStore, settings: Settings
) -> None:
    """Beyond MAX_KEPT_JOBS the oldest terminal jobs are purged at any age."""
    ids = await ended(queue, store, 7)
    kept = settings.model_copy(update={"max_kept_jobs": 3})
    assert Retention(redis, store, kept).purge_expired() == 4
    assert [job.id for job in (await queue.page(None, 10, None)).jobs] == ids[:3:-1]
    assert sorted(store.job_ids()) == sorted(ids[4:])


async def test_unknown_ids_do_not_block(
    queue: JobQueue, redis: Redis, store: ScanStore, retention: Retention
) -> None:
    """Ids that Redis no longer knows are forgotten, and the jobs after them are purged."""
    ids = await ended(queue, store, BATCH + 10)
    age(redis, ids, 8 * DAY_S)
    for job_id in ids[:BATCH]:
        redis.delete(keys.RQ_JOB + job_id)
    retention.purge_expired()
    assert redis.zcard(keys.ENDED) == 0
    assert list(store.job_ids()) == []


async def test_a_file_that_cannot_be_removed_keeps_its_own_job_only(
    queue: JobQueue,
    redis: Redis,
    store: ScanStore,
    retention: Retention,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Jobs whose files cannot be deleted stay, the others are purged; later all are purged."""
    ids = await ended(queue, store, 2 * BATCH + 20)
    bad = set(ids[: BATCH + 10])
    age(redis, ids, 8 * DAY_S)
    rm = type(store._fs).rm

    def fail(self: object, path: str, **options: object) -> None:
        if path.rsplit("/", 1)[-1] in bad:
            raise OSError(errno.EIO, "input/output error")
        rm(self, path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(type(store._fs), "rm", fail)
        assert retention.purge_expired() == len(ids) - len(bad)
        assert set(store.job_ids()) == bad
        assert {job.id for job in (await queue.page(None, 2 * BATCH, None)).jobs} == bad
    assert retention.purge_expired() == len(bad)
    assert list(store.job_ids()) == []


async def test_a_store_that_is_away_costs_no_record(
    queue: JobQueue, redis: Redis, store: ScanStore, retention: Retention, tmp_path: Path
) -> None:
    """While the store is not mounted no job is forgotten, so no file is left without one."""
    ids = await ended(queue, store, 3)
    age(redis, ids, 8 * DAY_S)
    retention._identity.check()
    (tmp_path / "store").rename(tmp_path / "away")
    retention.make_round()
    assert redis.zcard(keys.ENDED) == 3
    (tmp_path / "away").rename(tmp_path / "store")
    redis.delete(keys.RETENTION_TURN + "purge")
    retention.make_round()
    assert redis.zcard(keys.ENDED) == 0
    assert list(store.job_ids()) == []


@pytest.mark.parametrize("step_s", [3600, -3600])
async def test_a_stepped_clock_does_not_freeze_retention(
    queue: JobQueue, redis: Redis, store: ScanStore, retention: Retention, step_s: float
) -> None:
    """A round that began by a clock an hour ahead, or behind, delays no other round."""
    ids = await ended(queue, store, 1)
    age(redis, ids, 8 * DAY_S)
    redis.set(keys.RETENTION_TURN + "purge", time.time() + step_s)
    retention.make_round()
    assert redis.zcard(keys.ENDED) == 0


async def test_workers_take_turns(
    queue: JobQueue, redis: Redis, store: ScanStore, settings: Settings
) -> None:
    """A round that one worker has just done is not repeated by another."""
    first, second = (Retention(redis, store, settings) for _ in range(2))
    first.make_round()
    ids = await ended(queue, store, 1)
    age(redis, ids, 8 * DAY_S)
    second.make_round()
    assert redis.zcard(keys.ENDED) == 1


async def test_retention_outlives_any_error(
    queue: JobQueue,
    redis: Redis,
    store: ScanStore,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An unexpected error ends a round, and the next one purges."""
    ids = await ended(queue, store, 1)
    age(redis, ids, 8 * DAY_S)
    hasty = settings.model_copy(update={"retention_s": 1.0})
    retention = Retention(redis, store, hasty)
    purge, calls = retention.purge_expired, []

    def fail() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise UnicodeDecodeError("utf-8", b"", 0, 1, "unforeseen")
        return purge()

    monkeypatch.setattr(retention, "purge_expired", fail)
    thread = retention.start()
    for _ in range(600):
        if redis.zcard(keys.ENDED) == 0:
            break
        await asyncio.sleep(0.05)
    thread.stop()
    assert len(calls) >= 2
    assert redis.zcard(keys.ENDED) == 0


async def test_files_are_deleted_while_redis_refuses_writes(
    queue: JobQueue,
    redis: Redis,
    store: ScanStore,
    retention: Retention,
) -> None:
    """While Redis is read-only files of expired jobs are deleted; their records follow later."""
    ids = await ended(queue, store, MANY)
    age(redis, ids, 8 * DAY_S)
    # A server that waits for a replica which is not there refuses writes.
    redis.config_set("min-replicas-to-write", 1)
    try:
        with pytest.raises(ResponseError, match="NOREPLICAS"):
            redis.set("a", 1)
        retention.make_round()
        assert list(store.job_ids()) == []
        assert redis.zcard(keys.ENDED) == MANY
    finally:
        redis.config_set("min-replicas-to-write", 0)
    retention.make_round()
    assert redis.zcard(keys.ENDED) == 0


async def test_jobs_are_purged_while_memory_is_short(
    queue: JobQueue, redis: Redis, store: ScanStore, retention: Retention
) -> None:
    """With Redis over its maxmemory, retention still deletes records."""
    ids = await ended(queue, store, 10)
    age(redis, ids, 8 * DAY_S)
    retention._identity.check()
    redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(ResponseError):
            redis.set("a", 1)
        retention.make_round()
        assert redis.zcard(keys.ENDED) == 0
        assert list(store.job_ids()) == []
    finally:
        redis.config_set("maxmemory", 0)


async def test_orphans_are_swept(
    queue: JobQueue, redis: Redis, store: ScanStore, retention: Retention, settings: Settings
) -> None:
    """Files without a job are deleted after RETENTION_S and a day; files of a job are kept.

    A record of another service keeps them for ever, and one of this service does not.
    """
    redis.set(keys.SERVICE, "ours")
    records = JobRecords(store)
    orphan, ours, theirs, known = (
        submission(id=old_id(2 * settings.retention_s)) for _ in range(4)
    )
    young = submission()
    await queue.submit(known)
    for submitted in (orphan, ours, theirs, known, young):
        store.write(store.scan_key(submitted.id, "scan", gzipped=False), b"volume")
    records.write(JobRecord(service="ours", submission=ours))
    records.write(JobRecord(service="theirs", submission=theirs))
    assert retention.sweep_orphans() == 2
    assert sorted(store.job_ids()) == sorted(submitted.id for submitted in (theirs, known, young))
    redis.delete(keys.SERVICE)
    assert retention.sweep_orphans() == 0


async def test_a_short_retention_leaves_orphans_for_a_day(
    redis: Redis, store: ScanStore, settings: Settings
) -> None:
    """With any short retention, an upload that has no job yet is kept for a day."""
    hasty = Retention(redis, store, settings.model_copy(update={"retention_s": 0.001}))
    for seconds in (ORPHANS_KEPT_S - 60, ORPHANS_KEPT_S + 60):
        store.write(store.scan_key(old_id(seconds), "scan", gzipped=False), b"volume")
    assert hasty.sweep_orphans() == 1
