"""Following jobs live, over HTTP and the real queue."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import redis
from ulid import ULID

from shared.errors import InferenceFailed
from shared.jobs import Stage
from tests.conftest import Valkey
from tests.support.api_server import ApiServer, assert_problem, submit
from tests.support.event_lines import Message, followed, messages, until
from tests.support.scripted_worker import ScriptedWorker
from voxelq import Client, JobState
from worker.pipeline.outcomes import LeasedJob, Retry
from worker.pipeline.progress import Step


def lose(_: LeasedJob) -> Retry:
    """Return the outcome of a job that goes back to the queue."""
    return Retry(InferenceFailed("as scripted").problem())


@asynccontextmanager
async def following(
    client: httpx.AsyncClient, job_id: str
) -> AsyncIterator[AsyncIterator[Message]]:
    """Follow a job."""
    async with client.stream("GET", f"/jobs/{job_id}/events") as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        yield messages(response)


async def test_a_job_is_followed_to_its_end(
    client: httpx.AsyncClient, scripted_worker: ScriptedWorker
) -> None:
    """Its state is sent at once, then each change as a GET shows it, then the stream ends."""
    job_id = await submit(client)
    async with following(client, job_id) as reading:
        received = [await anext(reading)]
        assert received[0].job == (await client.get(f"/jobs/{job_id}")).json()
        (leased,) = scripted_worker.start()
        received += await until(reading, status="started")
        assert received[-1].job == (await client.get(f"/jobs/{job_id}")).json()
        scripted_worker.leases.update_progress([Step(leased, Stage.INFERENCE, 0.25)])
        received += await until(reading, progress=0.25)
        assert received[-1].job == (await client.get(f"/jobs/{job_id}")).json()
        scripted_worker.settle([leased])
        received += [message async for message in reading]
    assert [message.seen for message in received] == [
        ("queued", None, 0.0),
        ("started", "load", 0.0),
        ("started", "inference", 0.25),
        ("finished", None, 1.0),
    ]
    assert received[-1].job == (await client.get(f"/jobs/{job_id}")).json()
    ids = [message.id for message in received]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("seen", [0, 1, 2])
async def test_missed_states_are_sent(
    client: httpx.AsyncClient, scripted_worker: ScriptedWorker, seen: int
) -> None:
    """A client that returns with an id gets each status it missed, in order, and the end."""
    job_id = await submit(client)
    async with following(client, job_id) as reading:
        received = [await anext(reading)]
        leased_jobs = scripted_worker.start()
        received += await until(reading, status="started")
        scripted_worker.settle(leased_jobs, lose)
        received += await until(reading, status="queued")
        scripted_worker.settle(scripted_worker.start())
        received += [message async for message in reading]
    statuses = ["queued", "started", "queued", "started", "finished"]
    assert [message.job["status"] for message in received] == statuses
    assert [message.job["attempts"] for message in received] == [0, 1, 1, 2, 2]
    again = await followed(client, job_id, received[seen].id)
    assert [message.job["status"] for message in again] == statuses[seen + 1 :]
    assert [message.job["attempts"] for message in again] == [0, 1, 1, 2, 2][seen + 1 :]
    assert again[0].id > received[seen].id
    assert again[-1].job == received[-1].job


async def test_returning_to_the_same_state(client: httpx.AsyncClient) -> None:
    """A client that returns before any change gets the present state, under a higher id."""
    job_id = await submit(client)
    async with following(client, job_id) as reading:
        first = await anext(reading)
    headers = {"Last-Event-ID": str(first.id)}
    async with client.stream("GET", f"/jobs/{job_id}/events", headers=headers) as response:
        again = await anext(messages(response))
    assert again.job == first.job
    assert again.id > first.id


async def test_a_terminal_job(client: httpx.AsyncClient) -> None:
    """A terminal job sends its end and closes; a client that has it gets a 204."""
    job_id = await submit(client)
    await client.delete(f"/jobs/{job_id}")
    (end,) = await followed(client, job_id)
    assert end.job["status"] == "canceled"
    headers = {"Last-Event-ID": str(end.id)}
    again = await client.get(f"/jobs/{job_id}/events", headers=headers)
    assert (again.status_code, again.content) == (204, b"")


async def test_refusals(client: httpx.AsyncClient) -> None:
    """An unknown job is a 404, and a malformed Last-Event-ID is a 400."""
    assert_problem(await client.get(f"/jobs/{ULID()}/events"), 404)
    assert_problem(await client.get("/jobs/nonsense/events"), 404)
    path = f"/jobs/{await submit(client)}/events"
    for wrong in ("abc", "-1", "1.5", "9" * 17):
        assert_problem(await client.get(path, headers={"Last-Event-ID": wrong}), 400, "number")


async def test_positions_change_as_others_leave(
    client: httpx.AsyncClient, scripted_worker: ScriptedWorker
) -> None:
    """A waiting job's position is sent when others start, are cancelled, or overtake it."""
    first, second, last = [await submit(client) for _ in range(3)]
    async with following(client, last) as reading:
        assert (await anext(reading)).job["position"] == 2
        await client.delete(f"/jobs/{second}")
        assert (await until(reading, position=1))[-1].job["status"] == "queued"
        (leased,) = scripted_worker.start(most=1)
        assert leased.id == first
        assert (await until(reading, position=0))[-1].job["status"] == "queued"
        await submit(client, "stat")
        assert (await until(reading, position=1))[-1].job["status"] == "queued"


async def test_progress_never_falls_within_an_attempt(
    client: httpx.AsyncClient, scripted_worker: ScriptedWorker
) -> None:
    """A lost job's progress goes back with its attempt, and only then."""
    job_id = await submit(client)
    async with following(client, job_id) as reading:
        for attempt in (1, 2):
            (leased,) = scripted_worker.start()
            await until(reading, attempts=attempt, progress=0.0, status="started")
            for progress in (0.25, 0.5):
                scripted_worker.leases.update_progress([Step(leased, Stage.INFERENCE, progress)])
                (*_, received) = await until(reading, progress=progress)
                assert received.job["attempts"] == attempt
            if attempt == 1:
                scripted_worker.settle([leased], lose)
                (*_, back) = await until(reading, status="queued")
                assert (back.job["progress"], back.job["stage"]) == (0.0, None)
        await client.delete(f"/jobs/{job_id}")
        (*_, end) = await until(reading, status="canceled")
        assert (end.job["progress"], end.job["stage"]) == (0.5, None)


async def test_progress_of_a_lost_job_is_ignored(
    client: httpx.AsyncClient, scripted_worker: ScriptedWorker
) -> None:
    """A worker that lost its lease cannot report over the one that has the job now."""
    job_id = await submit(client)
    (lost,) = scripted_worker.start()
    scripted_worker.settle([lost], lose)
    assert scripted_worker.leases.update_progress([Step(lost, Stage.STORE, 0.9)]) == 0
    (held,) = scripted_worker.start()
    assert scripted_worker.leases.update_progress([Step(held, Stage.PREPROCESS, 0.2)]) == 1
    assert scripted_worker.leases.update_progress([Step(lost, Stage.STORE, 0.9)]) == 0
    job = (await client.get(f"/jobs/{job_id}")).json()
    assert (job["stage"], job["progress"]) == ("preprocess", 0.2)
    scripted_worker.settle([held])
    assert scripted_worker.leases.update_progress([Step(held, Stage.STORE, 0.9)]) == 0


async def test_progress_is_not_sent_without_followers(
    client: httpx.AsyncClient, scripted_worker: ScriptedWorker, valkey: Valkey
) -> None:
    """A progress update is one command, and becomes an event only while a client follows a job."""
    job_id = await submit(client)
    (leased,) = scripted_worker.start()
    # Redis knows the script after this call.
    scripted_worker.leases.update_progress([Step(leased, Stage.LOAD, 0.1)])
    with redis.Redis.from_url(valkey.url) as admin:
        admin.config_resetstat()
        scripted_worker.leases.update_progress([Step(leased, Stage.PREPROCESS, 0.2)])
        calls = {name: stats["calls"] for name, stats in admin.info("commandstats").items()}
        assert calls["cmdstat_evalsha"] == calls["cmdstat_hset"] == 1
        assert "cmdstat_xadd" not in calls
        assert admin.exists("voxelq:progress") == 0
        async with following(client, job_id) as reading:
            assert (await anext(reading)).job["progress"] == 0.2
            scripted_worker.leases.update_progress([Step(leased, Stage.INFERENCE, 0.3)])
            await until(reading, progress=0.3)
        assert admin.xlen("voxelq:progress") == 1


async def test_a_heartbeat_keeps_the_connection(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nothing changes a comment is sent."""
    monkeypatch.setattr("api.live.sse.HEARTBEAT_S", 0.05)
    job_id = await submit(client)
    async with client.stream("GET", f"/jobs/{job_id}/events") as response:
        lines = response.aiter_lines()
        while not (line := await anext(lines)).startswith(":"):
            assert line == "" or line.split(": ")[0] in ("event", "id", "data")


async def test_a_follower_that_disconnects_is_forgotten(
    client: httpx.AsyncClient, server: ApiServer
) -> None:
    """A follower that disconnects is removed, and its job continues."""
    job_id = await submit(client)
    async with following(client, job_id) as reading:
        await anext(reading)
        assert server.following == 1
    await server.until(lambda: server.following == 0)
    assert (await client.get(f"/jobs/{job_id}")).json()["status"] == "queued"


@pytest.fixture
def sweeping_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a service that starts later sweep all the time, and ignore events."""
    monkeypatch.setattr("api.live.event_reader.SWEEP_S", 0.05)
    monkeypatch.setattr("api.live.followers.JobFollowers.receive", lambda *_: None)


async def test_a_change_without_an_event(
    sweeping_only: None, client: httpx.AsyncClient, scripted_worker: ScriptedWorker
) -> None:
    """A follower gets changes that had no event, such as those of a stock worker."""
    job_id = await submit(client)
    async with following(client, job_id) as reading:
        await anext(reading)
        scripted_worker.settle(scripted_worker.start())
        received = await until(reading, status="finished")
        assert [message.job["status"] for message in received] == ["started", "finished"]


async def test_a_thousand_followers(
    client: httpx.AsyncClient, server: ApiServer, scripted_worker: ScriptedWorker, valkey: Valkey
) -> None:
    """A thousand clients follow jobs on one process over a handful of Redis connections."""
    ids = [await submit(client) for _ in range(20)]
    paths = [f"/jobs/{ids[number % len(ids)]}/events" for number in range(1000)]
    async with server.crowd(paths) as readers:
        await server.until(lambda: server.following == 1000)
        with redis.Redis.from_url(valkey.url) as admin:
            assert len(admin.client_list()) < 100
            admin.config_resetstat()
            leased_jobs = scripted_worker.start(most=1)
            for reader in readers[len(ids) - 1 :: len(ids)]:  # they follow the last job
                while b'"position":18' not in (line := await reader.readline()):
                    assert line, "the stream ended"
            # draw and begin, and a few reads of changed jobs and of positions
            assert admin.info("commandstats")["cmdstat_evalsha"]["calls"] < 20
        assert "voxelq_http_following_clients 1000.0" in (await client.get("/metrics")).text
        scripted_worker.settle(leased_jobs)
        for _ in range(3):
            scripted_worker.settle(scripted_worker.start())
        answers = await asyncio.gather(*(reader.read() for reader in readers))
    assert all(b'"status":"finished"' in answer for answer in answers)
    await server.until(lambda: server.following == 0)


async def test_followers_survive_a_redis_outage(
    client: httpx.AsyncClient, scripted_worker: ScriptedWorker, valkey: Valkey
) -> None:
    """A follower stays connected while Redis is away, and gets what happened since."""
    job_id = await submit(client)
    async with following(client, job_id) as reading:
        await anext(reading)
        await asyncio.sleep(1.1)  # the server's disk is behind by a second
        await asyncio.to_thread(valkey.kill)
        await asyncio.to_thread(valkey.start)
        scripted_worker.settle(scripted_worker.start())
        received = await until(reading, status="finished")
        assert [message.job["status"] for message in received] == ["started", "finished"]


async def test_following_without_redis_is_a_503(client: httpx.AsyncClient, valkey: Valkey) -> None:
    """With Redis away, following is a 503 that says when to try again; later it works."""
    job_id = await submit(client)
    await asyncio.sleep(1.1)  # the server's disk is behind by a second
    await asyncio.to_thread(valkey.kill)
    try:
        refused = await client.get(f"/jobs/{job_id}/events")
        assert_problem(refused, 503)
        assert int(refused.headers["retry-after"]) >= 1
    finally:
        await asyncio.to_thread(valkey.start)
    async with following(client, job_id) as reading:
        assert (await anext(reading)).job["status"] == "queued"


async def test_an_unexpected_error_ends_one_read_only(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While jobs cannot be read a new follower gets a 500, and later ones are served."""
    job_id = await submit(client)

    def fail(*_: object) -> None:
        raise ValueError("as scripted")

    with monkeypatch.context() as broken:
        broken.setattr("shared.queue.job_queue.JobQueue.get_all", fail)
        assert_problem(await client.get(f"/jobs/{job_id}/events"), 500, "logged")
    async with following(client, job_id) as reading:
        assert (await anext(reading)).job["status"] == "queued"


async def test_the_client_sees_every_change_that_lasts(
    client: httpx.AsyncClient, server: ApiServer, scripted_worker: ScriptedWorker
) -> None:
    """The Python client's progress callback gets each state of a job once, in order."""
    job_id = await submit(client)
    received: list[JobState] = []
    with Client(server.url) as python:
        job = await asyncio.to_thread(python.job, job_id)
        end = asyncio.create_task(asyncio.to_thread(job.wait, 60.0, received.append))
        await server.until(lambda: bool(received))
        leased_jobs = scripted_worker.start()
        await server.until(lambda: received[-1].status == "started")
        scripted_worker.leases.update_progress([Step(leased_jobs[0], Stage.INFERENCE, 0.5)])
        await server.until(lambda: received[-1].progress == 0.5)
        scripted_worker.settle(leased_jobs)
        assert (await end).job.status == "finished"
    seen = [(job.status, job.stage, job.progress) for job in received]
    assert seen == [
        ("queued", None, 0.0),
        ("started", "load", 0.0),
        ("started", "inference", 0.5),
        ("finished", None, 1.0),
    ]


async def test_a_stop_ends_the_streams(client: httpx.AsyncClient, server: ApiServer) -> None:
    """When the process stops, a follower's stream ends cleanly, so that it can be reopened."""
    job_id = await submit(client)
    async with following(client, job_id) as reading:
        await anext(reading)
        await asyncio.to_thread(server.stop)
        assert [message async for message in reading] == []
