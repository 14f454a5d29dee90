"""A full disk on which both the queue's append-only file and the store are."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from redis import Redis
from redis.exceptions import ResponseError

from shared.queue import keys
from shared.queue.job_queue import JobQueue
from shared.settings import Settings
from shared.storage.store import ScanStore
from tests.conftest import Valkey
from tests.support.api_server import RAW, SCAN, ApiServer, assert_problem, submit
from tests.support.jobs import submission
from tests.support.small_disk import fill, small_disk
from worker.queueing.connection import connect
from worker.queueing.retention import Retention

MIB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 40 MiB."""
    with small_disk(tmp_path / "disk", 40 * MIB) as mounted:
        yield mounted


@pytest.fixture
def on_disk(settings: Settings, disk: Path) -> Iterator[Settings]:
    """Settings of a service whose queue and store share that disk."""
    server = Valkey(disk / "redis")
    server.start()
    try:
        yield settings.model_copy(
            update={"redis_url": server.url, "store_url": f"file://{disk}/store"}
        )
    finally:
        server.kill()


@pytest.fixture
async def queue(on_disk: Settings) -> AsyncIterator[JobQueue]:
    """The queue on that disk."""
    async with JobQueue(on_disk) as opened:
        yield opened


def writes(redis: Redis) -> bool:
    """Return whether Redis accepts a write, for which it must write its file."""
    try:
        redis.set("written", bytes(1000))
    except ResponseError:
        return False
    return True


async def until(redis: Redis, *, written: bool) -> None:
    """Return once Redis accepts writes, or refuses them."""
    deadline = time.monotonic() + 30
    while writes(redis) is not written:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def test_a_full_disk_is_freed_without_redis(
    on_disk: Settings, queue: JobQueue, disk: Path
) -> None:
    """Retention deletes expired files even if Redis cannot write any more.

    That frees the disk, so that Redis accepts writes again, and then the records are deleted.
    """
    store = ScanStore(on_disk.store_url)
    expired, kept = [submission() for _ in range(8)], submission()
    for one in (*expired, kept):
        store.write(store.scan_key(one.id, "scan", gzipped=False), bytes(MIB))
        await queue.submit(one)
        await queue.cancel(one.id)
    with connect(on_disk) as redis:
        retention = Retention(redis, store, on_disk)
        retention.make_round()
        for one in expired:
            redis.zincrby(keys.ENDED, -8 * 86_400, one.id)
        fill(disk)
        await until(redis, written=False)
        redis.connection_pool.disconnect()
        Retention(redis, store, on_disk).purge_expired()
        assert list(store.job_ids()) == [kept.id]
        await until(redis, written=True)
        retention.purge_expired()
        assert redis.zrange(keys.ENDED, 0, -1) == [kept.id.encode()]


async def test_uploads_stop_before_redis_does(on_disk: Settings, disk: Path) -> None:
    """Scans are refused with 507 while the reserve still allows jobs to be cancelled."""
    server = ApiServer(on_disk)
    server.start()
    try:
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
            job_id = await submit(client)
            ballast = fill(disk, leave_bytes=MIB)
            for _ in range(3):
                assert_problem(await client.post("/jobs", content=SCAN, headers=RAW), 507)
            assert (await client.delete(f"/jobs/{job_id}")).status_code == 204
            assert (await client.delete(f"/jobs/{job_id}")).status_code == 204
            ballast.unlink()
            await submit(client)
    finally:
        server.stop()


async def test_scans_are_refused_while_others_fill_the_disk(on_disk: Settings, disk: Path) -> None:
    """If other files fill the disk, a scan is refused and leaves nothing behind.

    Once there is room again scans are accepted, without a restart.
    """
    server = ApiServer(on_disk)
    server.start()
    try:
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
            await submit(client)
            kept = server.stored_files()
            ballast = fill(disk)
            for _ in range(3):
                response = await client.post("/jobs", content=SCAN, headers=RAW)
                assert response.status_code in (503, 507)
            assert server.stored_files() == kept
            ballast.unlink()
            deadline = time.monotonic() + 30
            while (
                await client.post("/jobs", content=SCAN, headers=RAW)
            ).status_code != httpx.codes.ACCEPTED:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.2)
    finally:
        server.stop()
