"""Blocking until a job is terminal, by `/predict` and by `?wait=`."""

import asyncio
import re

import httpx
import pytest
import redis
from ulid import ULID

from tests.conftest import Valkey
from tests.support.api_server import RAW, SCAN, ApiServer, assert_problem, submit
from tests.support.scripted_worker import ScriptedWorker, blame_the_scan


@pytest.fixture
def served(scripted_worker: ScriptedWorker) -> ScriptedWorker:
    """A worker that serves every job."""
    scripted_worker.serve()
    return scripted_worker


@pytest.mark.usefixtures("served")
async def test_predict(client: httpx.AsyncClient) -> None:
    """A predict blocks and answers 200 with the finished job and its timings."""
    response = await client.post("/predict", files={"scan": SCAN})
    assert response.status_code == 200
    assert response.json()["status"] == "finished"
    assert "queue;dur=12.0" in response.headers["server-timing"]
    assert "preference-applied" not in response.headers


@pytest.mark.usefixtures("served")
async def test_a_blocking_call_has_its_own_timings(client: httpx.AsyncClient) -> None:
    """Upload and answer are parts of the server's time, and only of the call that waited."""
    keyed = {**RAW, "Idempotency-Key": "once"}
    response = await client.post("/predict", content=SCAN, headers=keyed)
    parts = {
        name: float(milliseconds)
        for name, milliseconds in re.findall(
            r"(\w+);dur=([\d.]+)", response.headers["server-timing"]
        )
    }
    assert parts["upload"] > 0
    assert parts["answer"] >= 0
    assert parts["upload"] + parts["answer"] <= parts["server"] + 0.2  # each is rounded
    again = await client.post("/predict", content=SCAN, headers=keyed)
    polled = await client.get(f"/jobs/{response.json()['id']}")
    for other in (again, polled):
        assert "queue;dur=12.0" in other.headers["server-timing"]
        assert "server" not in other.headers["server-timing"]


async def test_predict_of_a_bad_scan(
    client: httpx.AsyncClient, scripted_worker: ScriptedWorker
) -> None:
    """A failed job is a 200 that says so, because the call itself worked."""
    scripted_worker.serve(blame_the_scan)
    response = await client.post("/predict", content=SCAN, headers=RAW)
    assert response.status_code == 200
    job = response.json()
    assert (job["status"], job["result"]) == ("failed", None)
    assert job["error"]["type"] == "urn:voxelq:problem:bad-scan"
    assert job["error"]["status"] == 422
    assert (await client.get(f"/jobs/{job['id']}")).json()["error"] == job["error"]


@pytest.mark.parametrize(
    ("query", "headers", "applied"),
    [
        ("?wait=0.2", {}, None),
        ("?wait=0", {"Prefer": "wait=60"}, None),
        ("", {"Prefer": "wait=0.2"}, "wait=0.2"),
        ("", {"Prefer": 'foo=bar; x, Wait="0", wait=9'}, "wait=0"),
        ("", {"Prefer": "respond-async"}, "respond-async"),
        ("", {"Prefer": "respond-async, wait=0"}, "wait=0"),
    ],
)
async def test_a_wait_that_is_over(
    client: httpx.AsyncClient, query: str, headers: dict[str, str], applied: str | None
) -> None:
    """When the wait is over a predict is a 202 with Location, and the job continues."""
    response = await client.post(f"/predict{query}", content=SCAN, headers=RAW | headers)
    assert response.status_code == 202
    assert response.headers.get("preference-applied") == applied
    assert int(response.headers["retry-after"]) >= 1
    job = await client.get(response.headers["location"])
    assert job.json()["status"] == "queued"


async def test_blocking_on_a_job(
    client: httpx.AsyncClient, server: ApiServer, scripted_worker: ScriptedWorker
) -> None:
    """GET with a wait is held until the job is terminal, by ?wait= and by Prefer alike."""
    job_id = await submit(client)
    calls = [
        asyncio.create_task(client.get(f"/jobs/{job_id}?wait=60")),
        asyncio.create_task(client.get(f"/jobs/{job_id}", headers={"Prefer": "wait=60"})),
    ]
    await server.until_blocked(2)
    leased_jobs = scripted_worker.start()
    assert not any(call.done() for call in calls)
    scripted_worker.settle(leased_jobs)
    by_query, by_header = await asyncio.gather(*calls)
    assert by_query.json()["status"] == by_header.json()["status"] == "finished"
    assert by_header.headers["preference-applied"] == "wait=60"
    assert server.blocked == 0


async def test_a_get_whose_wait_is_over(client: httpx.AsyncClient) -> None:
    """When the wait is over a GET is a 200 with the job's present state."""
    response = await client.get(f"/jobs/{await submit(client)}?wait=0.05")
    assert response.status_code == 200
    assert response.json()["status"] == "queued"


@pytest.mark.parametrize("query", ["wait=-1", "wait=nan", "wait=1e9", "wait="])
async def test_bad_waits(client: httpx.AsyncClient, query: str) -> None:
    """A wait that is not a number of seconds up to MAX_WAIT_S is a 400."""
    assert_problem(await client.get(f"/jobs/{ULID()}?{query}"), 400)


async def test_a_canceled_job_wakes_its_client(
    client: httpx.AsyncClient, server: ApiServer
) -> None:
    """A client that blocks on a job is answered when the job is cancelled."""
    predicting = asyncio.create_task(client.post("/predict", content=SCAN, headers=RAW))
    await server.until_blocked(1)
    job_id = (await client.get("/jobs")).json()["jobs"][0]["id"]
    assert (await client.delete(f"/jobs/{job_id}")).status_code == 204
    response = await predicting
    assert (response.status_code, response.json()["status"]) == (200, "canceled")


async def test_a_client_that_disconnects_is_forgotten(
    client: httpx.AsyncClient, server: ApiServer
) -> None:
    """A blocked client that disconnects is removed at once, and its job continues."""
    job_id = await submit(client)
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"GET /jobs/{job_id}?wait=300 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await server.until_blocked(1)
    writer.close()
    await writer.wait_closed()
    await server.until_blocked(0)
    assert (await client.get(f"/jobs/{job_id}")).json()["status"] == "queued"


async def test_a_thousand_blocked_clients(
    client: httpx.AsyncClient, server: ApiServer, scripted_worker: ScriptedWorker, valkey: Valkey
) -> None:
    """A thousand clients block on one process over a handful of Redis connections; all wake."""
    ids = [await submit(client) for _ in range(20)]
    paths = [f"/jobs/{ids[number % len(ids)]}?wait=120" for number in range(1000)]
    async with server.crowd(paths) as readers:
        await server.until_blocked(1000)
        with redis.Redis.from_url(valkey.url) as admin:
            assert len(admin.client_list()) < 100
        assert "voxelq_http_blocked_clients 1000.0" in (await client.get("/metrics")).text
        assert (await client.get("/livez")).status_code == 200
        for _ in range(3):
            scripted_worker.settle(scripted_worker.start())
        answers = await asyncio.gather(*(reader.read() for reader in readers))
    assert all(b'"status":"finished"' in answer for answer in answers)
    await server.until_blocked(0)


async def test_an_end_without_an_event(
    client: httpx.AsyncClient,
    server: ApiServer,
    scripted_worker: ScriptedWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A job that ended without an event is found by the sweep."""
    monkeypatch.setattr("api.live.waiters.JobWaiters.receive", lambda *_: None)
    predicting = asyncio.create_task(client.post("/predict", content=SCAN, headers=RAW))
    await server.until_blocked(1)
    scripted_worker.settle(scripted_worker.start())
    assert (await predicting).json()["status"] == "finished"
