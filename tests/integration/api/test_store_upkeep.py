"""The store as the API sees it: its identity, its reserve, its records, and what is recovered."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from redis import Redis

from shared.jobs import JobStatus
from shared.queue import keys
from shared.queue.job_queue import JobQueue
from shared.settings import Settings
from shared.storage.job_records import JobRecord, JobRecords
from shared.storage.store import RECORD_NAME, ScanStore
from tests.support.api_server import RAW, SCAN, ApiServer, assert_problem, finished, submit
from tests.support.jobs import wait_for
from tests.support.scripted_worker import ScriptedWorker
from worker.queueing.connection import connect
from worker.queueing.retention import Retention


@pytest.fixture
def redis(settings: Settings) -> Iterator[Redis]:
    """A client of this test's server."""
    with connect(settings) as opened:
        yield opened


def store_upkeep(server: ApiServer) -> object:
    """The store upkeep of this server."""
    return server.server.config.app.state.services.store_upkeep  # type: ignore[union-attr]


async def test_a_record_is_beside_each_scan(
    client: httpx.AsyncClient, store: ScanStore, redis: Redis, queue: JobQueue
) -> None:
    """The record has the submission and the data set, and no idempotency key."""
    headers = RAW | {"Idempotency-Key": "a word of the client's"}
    response = await client.post("/jobs?priority=stat", content=SCAN, headers=headers)
    job = await queue.get(response.json()["id"])
    record = JobRecords(store).read(job.id)
    assert record is not None
    assert record.submission == job.submission
    assert record.service.encode() == redis.get(keys.SERVICE)
    assert b"a word" not in store.read(f"{store.folder(job.id)}/{RECORD_NAME}")


async def test_a_cancelled_job_leaves_no_record(
    client: httpx.AsyncClient, store: ScanStore, server: ApiServer
) -> None:
    """A cancelled job is never recovered, and a purge leaves nothing."""
    job_id = await submit(client)
    await client.delete(f"/jobs/{job_id}")
    assert JobRecords(store).read(job_id) is None
    await client.delete(f"/jobs/{job_id}")
    assert server.stored_files() == []


async def test_a_mount_that_disappears_during_an_upload_loses_no_scan(
    client: httpx.AsyncClient, redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan that was written to the folder below a lost mount is refused, and not queued."""
    await submit(client)
    write = JobRecords.write

    def write_below(self: JobRecords, record: JobRecord) -> None:
        (tmp_path / "store").rename(tmp_path / "away")
        write(self, record)

    monkeypatch.setattr(JobRecords, "write", write_below)
    response = await client.post("/jobs", content=SCAN, headers=RAW)
    assert_problem(response, 503, "Is it mounted")
    assert redis.zcard(keys.INDEX) == 1


async def test_a_mask_of_an_unreachable_store_is_not_a_404(
    client: httpx.AsyncClient, scripted_worker: ScriptedWorker, tmp_path: Path
) -> None:
    """While the store is missing its files answer 503, and 200 once it is back."""
    job_id = await finished(client, scripted_worker)
    (tmp_path / "store").rename(tmp_path / "away")
    (tmp_path / "store").mkdir()
    for name in ("mask", "scan", "preview.png"):
        assert_problem(await client.get(f"/jobs/{job_id}/{name}"), 503, "Is it mounted")
    (tmp_path / "store").rmdir()
    (tmp_path / "away").rename(tmp_path / "store")
    assert (await client.get(f"/jobs/{job_id}/mask")).status_code == 200


async def test_a_missing_mount_is_refused_before_the_body(
    client: httpx.AsyncClient, server: ApiServer, tmp_path: Path
) -> None:
    """While the store is missing scans are refused with 503; once it is back they are accepted.

    A terminal job cannot be purged meanwhile, because its files still exist.
    """
    job_id = await submit(client)
    await client.delete(f"/jobs/{job_id}")
    (tmp_path / "store").rename(tmp_path / "away")
    for body in (SCAN, b"no scan"):
        response = await client.post("/jobs", content=body, headers=RAW)
        assert_problem(response, 503, "Is it mounted")
    assert_problem(await client.delete(f"/jobs/{job_id}"), 503)
    assert server.stored_files() == []
    (tmp_path / "away").rename(tmp_path / "store")
    assert (await client.delete(f"/jobs/{job_id}")).status_code == 204
    await submit(client)


async def test_a_store_that_cannot_be_written_is_a_503(
    client: httpx.AsyncClient, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk error is a 503 that leaves nothing, at any point of the upload."""
    store = server.server.config.app.state.services.store  # type: ignore[union-attr]
    open_file = type(store._fs)._open
    for part in ("scan.nii", "job.json"):

        def fail_to_open(
            self: object, path: str, mode: str = "rb", part: str = part, **options: object
        ) -> object:
            if mode == "wb" and part in path:
                raise OSError(5, "input/output error")
            return open_file(self, path, mode, **options)

        with monkeypatch.context() as patch:
            patch.setattr(type(store._fs), "_open", fail_to_open)
            assert_problem(await client.post("/jobs", content=SCAN, headers=RAW), 503, "EIO")
        assert server.stored_files() == []
    await submit(client)


async def test_uploads_leave_the_reserve(
    client: httpx.AsyncClient, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload is refused with 507 if its length would touch the reserve, or once it does."""
    free = [0]
    usage = SimpleNamespace(total=100 << 30)
    monkeypatch.setattr(
        "shared.storage.store.shutil.disk_usage",
        lambda _: SimpleNamespace(free=free[0], total=usage.total),
    )
    reserve = server.settings.store_reserve_bytes
    free[0] = reserve + len(SCAN) - 1
    assert_problem(await client.post("/jobs", content=SCAN, headers=RAW), 507)

    async def unannounced() -> object:
        yield SCAN[:100]
        free[0] = reserve + 10
        yield SCAN[100:]

    free[0] = reserve + 200
    response = await client.post("/jobs", content=unannounced(), headers=RAW)  # type: ignore[arg-type]
    assert_problem(response, 507)
    assert server.stored_files() == []
    free[0] = reserve + 10 * len(SCAN)
    await submit(client)


async def test_an_emptied_redis_loses_nothing(
    client: httpx.AsyncClient,
    server: ApiServer,
    scripted_worker: ScriptedWorker,
    redis: Redis,
    queue: JobQueue,
) -> None:
    """After FLUSHALL while scans wait, run and are done, all are recovered, and finish.

    A client that polls meanwhile gets a 503 with Retry-After, never a 404; a blocked one gets its
    result.
    """
    ids = [await submit(client) for _ in range(6)]
    scripted_worker.start(2)
    blocked = asyncio.create_task(
        client.post("/predict?wait=50&priority=stat", content=SCAN, headers=RAW)
    )
    await server.until_blocked(1)
    canceled = await submit(client)
    await client.delete(f"/jobs/{canceled}")
    redis.flushall()
    asked = [await client.get(f"/jobs/{job_id}") for job_id in ids]
    assert {response.status_code for response in asked} <= {503, 200}
    assert {response.headers.get("retry-after") for response in asked} <= {"2", None}
    assert (await client.get(f"/jobs/{canceled}")).status_code == 404
    scripted_worker.serve()
    await submit(client)
    await server.until(lambda: all(redis.exists(keys.RQ_JOB + job_id) for job_id in ids))
    jobs = await wait_for(queue, ids, JobStatus.FINISHED)
    assert all(job.report for job in jobs)
    answer = await blocked
    assert answer.status_code == 200
    assert answer.json()["status"] == "finished"
    assert (await client.get(f"/jobs/{canceled}")).status_code == 404


async def test_a_restart_after_a_loss_is_noted(
    settings: Settings, redis: Redis, store: ScanStore
) -> None:
    """If no process ran when Redis was emptied, the scans are a note and are not recovered."""
    first = ApiServer(settings)
    first.start()
    async with httpx.AsyncClient(base_url=first.url, trust_env=False) as client:
        await submit(client)
    first.stop()
    redis.flushall()
    second = ApiServer(settings)
    second.start()
    try:
        await second.until(lambda: bool(store_upkeep(second).notes))  # type: ignore[attr-defined]
        assert "1 scan of another data set" in store_upkeep(second).notes[0]  # type: ignore[attr-defined]
        assert store_upkeep(second).trouble is None  # type: ignore[attr-defined]
        assert redis.zcard(keys.INDEX) == 0
    finally:
        second.stop()


async def test_jobs_missing_after_a_restart_are_recovered(
    settings: Settings, redis: Redis, queue: JobQueue
) -> None:
    """Jobs that the append-only file lost are recovered by an API on the same data set."""
    first = ApiServer(settings)
    first.start()
    async with httpx.AsyncClient(base_url=first.url, trust_env=False) as client:
        ids = [await submit(client) for _ in range(3)]
    first.stop()
    service = redis.get(keys.SERVICE)
    redis.flushall()
    redis.set(keys.SERVICE, service or b"")
    second = ApiServer(settings)
    second.start()
    try:
        await second.until(lambda: redis.zcard(keys.INDEX) == 3)
        assert [(await queue.get(job_id)).position for job_id in ids] == [0, 1, 2]
    finally:
        second.stop()


async def test_two_services_on_one_store(settings: Settings, store: ScanStore) -> None:
    """Two queues on one store: neither sweeps nor recovers the other's scans."""
    other = settings.model_copy(
        update={"redis_url": settings.redis_url.removesuffix("/0") + "/1", "retention_s": 0.001}
    )
    servers = [ApiServer(one) for one in (settings, other)]
    ids = []
    for server in servers:
        server.start()
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
            ids.append(await submit(client))
    try:
        with connect(other) as client_of_other:
            Retention(client_of_other, store, other).sweep_orphans()
        async with (
            httpx.AsyncClient(base_url=servers[0].url, trust_env=False) as one,
            httpx.AsyncClient(base_url=servers[1].url, trust_env=False) as two,
        ):
            assert (await one.get(f"/jobs/{ids[0]}")).status_code == 200
            assert (await one.get(f"/jobs/{ids[1]}")).status_code == 404
            assert (await two.get(f"/jobs/{ids[0]}")).status_code == 404
        assert sorted(store.job_ids()) == sorted(ids)
    finally:
        for server in servers:
            server.stop()
