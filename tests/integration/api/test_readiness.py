"""The answer of /readyz: paused workers, problems of Redis, and notes from other parts."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import redis

import api.readiness
from api.readiness import ServiceReadiness
from shared.errors import StoreUnavailable
from shared.queue.job_queue import JobQueue
from shared.settings import Settings
from tests.conftest import Valkey
from tests.support.api_server import ApiServer, assert_problem
from tests.support.redis_servers import RedisServer, redis_server
from tests.support.scripted_worker import ScriptedWorker
from voxelq.local.valkey import free_port
from worker.queueing.connection import await_usable, connect
from worker.queueing.leases import Leases, WorkerFacts

SERVING = WorkerFacts("w", "cpu", "test-model@1.0.0")


@pytest.fixture
def worker(settings: Settings) -> Iterator[Callable[[str, str | None], None]]:
    """Register a worker, paused for a reason or serving."""
    with connect(settings) as client:

        def register(name: str, paused: str | None) -> None:
            Leases(client, name, settings).extend([], replace(SERVING, id=name, paused=paused))

        yield register


async def test_a_healthy_service_has_no_notes(
    client: httpx.AsyncClient, scripted_worker: ScriptedWorker
) -> None:
    """With a serving worker and a healthy Redis the service is ready, without notes."""
    scripted_worker.sign_on()
    answer = await client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "notes": []}


async def test_paused_workers_alone_serve_nothing(
    client: httpx.AsyncClient, worker: Callable[[str, str | None], None]
) -> None:
    """With all workers paused the service is not ready, and says the first reason."""
    worker("w1", "The store does not answer.")
    assert_problem(await client.get("/readyz"), 503, "1 worker is paused: The store does not")
    worker("w2", "The store does not answer.")
    assert_problem(await client.get("/readyz"), 503, "2 workers are paused: The store does not")


async def test_a_paused_worker_beside_one_that_serves_is_a_note(
    client: httpx.AsyncClient, worker: Callable[[str, str | None], None]
) -> None:
    """One serving worker makes the service ready, and the paused one is a note."""
    worker("w1", "The store does not answer.")
    worker("w2", None)
    answer = await client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["notes"] == ["1 of 2 workers are paused: The store does not answer."]


async def test_what_is_wrong_with_redis_is_a_note(
    client: httpx.AsyncClient, scripted_worker: ScriptedWorker, valkey: Valkey
) -> None:
    """A Redis that evicts or loses keys serves scans, and is a note."""
    scripted_worker.sign_on()
    with redis.Redis.from_url(valkey.url) as server:
        server.config_set("maxmemory-policy", "allkeys-lru")
        try:
            (note,) = (await client.get("/readyz")).json()["notes"]
        finally:
            server.config_set("maxmemory-policy", "noeviction")
    assert "deletes jobs" in note
    assert "noeviction" in note


async def test_a_redis_that_refuses_jobs_is_not_ready(
    client: httpx.AsyncClient, scripted_worker: ScriptedWorker, valkey: Valkey
) -> None:
    """With Redis full no scan would be accepted, and the answer says what to do."""
    scripted_worker.sign_on()
    with redis.Redis.from_url(valkey.url) as server:
        bound = server.config_get("maxmemory")["maxmemory"]
        server.config_set("maxmemory", 1)
        try:
            assert_problem(await client.get("/readyz"), 503, "Raise maxmemory")
        finally:
            server.config_set("maxmemory", bound)


async def test_sources_of_notes_cannot_break_the_answer(
    queue: JobQueue, scripted_worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source's notes are shown; one that fails or hangs is itself a note, and delays nothing."""
    monkeypatch.setattr(api.readiness, "PROBE_TIMEOUT_S", 1.0)

    async def noted() -> Sequence[str]:
        return ["3 jobs were lost with Redis; `voxelq recover` brings them back."]

    async def failed() -> Sequence[str]:
        raise StoreUnavailable("The store does not answer.")

    async def hung() -> Sequence[str]:
        await asyncio.sleep(3600)
        return []

    scripted_worker.sign_on()
    notes = await ServiceReadiness(queue, sources=[noted, failed, hung]).check_ready()
    assert notes[0].startswith("3 jobs were lost")
    assert notes[1] == "The store does not answer."
    assert "in time" in notes[2]


@pytest.fixture
def sharded(tmp_path: Path) -> Iterator[RedisServer]:
    """A server in cluster mode, which the queue cannot use."""
    options = ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
    with redis_server(tmp_path / "cluster", *options) as server:
        yield server


async def test_the_api_says_that_redis_is_unusable(
    settings: Settings, sharded: RedisServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """With a Redis that the queue cannot use, the API is alive, not ready, and says why."""
    server = ApiServer(settings.model_copy(update={"redis_url": sharded.url}))
    server.start()
    try:
        async with httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client:
            assert_problem(await client.get("/readyz"), 503, "cluster mode")
            assert (await client.get("/livez")).status_code == 200
    finally:
        server.stop()
    output = capfd.readouterr()
    assert "redis-cluster" in output.err + output.out


def test_a_worker_waits_for_a_redis_that_it_can_use(
    settings: Settings, sharded: RedisServer, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker does not exit on an unusable Redis: it logs it, and continues once that changes."""
    monkeypatch.setattr("worker.queueing.connection.CHECK_AGAIN_S", 0.01)
    answers = [_info_of(sharded.url), _info_of(valkey.url)]
    checks: list[float] = []

    def info() -> object:
        checks.append(time.monotonic())
        return answers[min(len(checks), len(answers)) - 1]

    with connect(settings) as client:
        monkeypatch.setattr(client, "info", info)
        await_usable(client)
    assert len(checks) == 2


def _info_of(url: str) -> dict[str, object]:
    with redis.Redis.from_url(url) as client:
        return dict(client.info())
