"""A Redis that becomes a replica, is full or cannot write: what clients do and report."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError

from shared.errors import ServiceUnavailable, StoreFull
from shared.queue.connection import redis_unavailable
from shared.queue.job_queue import JobQueue
from shared.settings import Settings
from tests.support.api_server import RAW, SCAN, ApiServer, assert_problem
from tests.support.jobs import submission
from tests.support.redis_servers import FollowingAddress, RedisServer, redis_server
from worker.queueing.connection import connect
from worker.queueing.leases import Leases


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[RedisServer]:
    """The server that clients are connected to."""
    with redis_server(tmp_path / "primary") as server:
        yield server


@pytest.fixture
def other(tmp_path: Path) -> Iterator[RedisServer]:
    """The server that becomes the primary."""
    with redis_server(tmp_path / "other") as server:
        yield server


@pytest.fixture
def address(primary: RedisServer) -> Iterator[FollowingAddress]:
    """The address that clients use."""
    opened = FollowingAddress(primary)
    yield opened
    opened.close()


@pytest.fixture
def settings(address: FollowingAddress, tmp_path: Path, models_dir: Path) -> Settings:
    """Settings whose Redis is the address."""
    return Settings(
        redis_url=address.url,
        store_url=f"file://{tmp_path}/store",
        models_dir=models_dir,
        default_model="test-model",
        lease_s=2.0,
    )


async def test_clients_follow_a_failover(
    queue: JobQueue,
    settings: Settings,
    address: FollowingAddress,
    primary: RedisServer,
    other: RedisServer,
) -> None:
    """API and worker go on with the new primary after their server became a replica."""
    with connect(settings) as client:
        leases = Leases(client, "worker-1", settings)
        before = await queue.submit(submission())
        assert leases.draw(1).jobs
        other.follow(primary)
        with other.client() as promoted:
            promoted.replicaof("NO", "ONE")
        address.to = other
        primary.follow(other)
        after = await queue.submit(submission())
        assert [leased.id for leased in leases.draw(4).jobs] == [after.job.id]
        assert (await queue.get(before.job.id)).id == before.job.id
        with other.client() as direct:
            assert direct.exists(f"rq:job:{after.job.id}")


async def test_all_idle_connections_to_a_demoted_server_are_closed(
    queue: JobQueue, address: FollowingAddress, primary: RedisServer, other: RedisServer
) -> None:
    """Reads leave the old primary once a write was refused because it is a replica."""
    await queue._redis.set("known", "old")
    pool: Any = queue._redis.connection_pool
    first, second = [await pool.get_connection() for _ in range(2)]
    for connection in (first, second):
        await pool.release(connection)
    with other.client() as promoted:
        promoted.set("known", "new")
    address.to = other
    with primary.client() as demoted:
        demoted.replicaof("127.0.0.1", 1)  # no server is there, so that it keeps its data
    await queue._redis.set("else", "x")
    assert [await queue._redis.get("known") for _ in range(3)] == [b"new"] * 3


async def test_a_lasting_replica_has_a_message(
    queue: JobQueue, settings: Settings, primary: RedisServer, other: RedisServer
) -> None:
    """Without a primary, the API reports that Redis is read-only, and a worker gets an error."""
    primary.follow(other)
    with pytest.raises(ServiceUnavailable, match="read-only"):
        await queue.submit(submission())
    with connect(settings) as client, pytest.raises(ReadOnlyError) as raised:
        client.set("x", 1)
    assert isinstance(raised.value, RedisError)


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("min-replicas-to-write", "1", "too few replicas"),
        ("requirepass", "another", "password"),
    ],
)
async def test_refusals_have_messages(
    queue: JobQueue, primary: RedisServer, setting: str, value: str, words: str
) -> None:
    """Each refusal of Redis has a message of its own, and is a ServiceUnavailable."""
    primary.set(setting, value)
    with pytest.raises(ServiceUnavailable, match=words):
        await queue.submit(submission())


async def test_a_full_redis_has_a_message(queue: JobQueue, primary: RedisServer) -> None:
    """A call that needs more memory than Redis has fails with a message that says what to do."""
    primary.set("maxmemory", "1")
    assert "maxmemory" in redis_unavailable(OutOfMemoryError("used memory > 'maxmemory'")).detail
    with pytest.raises(StoreFull, match="no memory"):
        await queue.submit(submission())


async def test_a_user_without_rights_has_a_message(
    settings: Settings, primary: RedisServer
) -> None:
    """A Redis user without the right to run scripts gets a message about that."""
    with primary.client() as client:
        client.execute_command("ACL SETUSER weak on >pw ~* +@read +ping")
    url = f"redis://weak:pw@127.0.0.1:{primary.port}/0"
    async with JobQueue(settings.model_copy(update={"redis_url": url})) as queue:
        with pytest.raises(ServiceUnavailable, match="does not allow"):
            await queue.submit(submission())


async def test_a_failed_snapshot_has_a_message(
    queue: JobQueue, primary: RedisServer, tmp_path: Path
) -> None:
    """A server that cannot write its files gives a message for its operator."""
    with primary.client() as client:
        client.config_set("save", "1 1")
        client.set("x", 1)
        shutil.rmtree(tmp_path / "primary")
        client.bgsave()
        async with asyncio.timeout(30):
            while client.info("persistence")["rdb_last_bgsave_status"] == "ok":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    with pytest.raises(ServiceUnavailable, match="cannot write to its disk"):
        await queue.submit(submission())


async def test_the_api_answers_503_for_a_read_only_redis(
    settings: Settings, primary: RedisServer, other: RedisServer
) -> None:
    """A submit to a service whose Redis is a replica is a 503 with a reason, never a 500."""
    server = ApiServer(settings)
    server.start()
    try:
        primary.follow(other)
        async with httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client:
            answer = await client.post("/jobs", content=SCAN, headers=RAW)
            assert_problem(answer, 503, "read-only")
            assert int(answer.headers["retry-after"]) >= 1
    finally:
        server.stop()
