"""Polling, cancelling, purging and listing jobs, over HTTP."""

import re
from datetime import UTC, datetime

import httpx
import pytest
from ulid import ULID

from shared.jobs import JobStatus
from shared.queue.job_queue import JobQueue
from tests.support.api_server import ApiServer, assert_problem, finished, submit
from tests.support.scripted_worker import ScriptedWorker

JOB_MEMBERS = {
    "id",
    "status",
    "priority",
    "attempts",
    "model",
    "worker",
    "created_at",
    "started_at",
    "finished_at",
    "position",
    "eta_s",
    "progress",
    "stage",
    "result",
    "batch",
    "timings_s",
    "error",
    "links",
}
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def test_the_life_of_a_job(
    client: httpx.AsyncClient, scripted_worker: ScriptedWorker
) -> None:
    """A job is queued with its position, started, and finished with its result."""
    first, second = await submit(client), await submit(client)
    queued = (await client.get(f"/jobs/{second}")).json()
    assert set(queued) == JOB_MEMBERS
    assert (queued["status"], queued["position"], queued["worker"]) == ("queued", 1, None)
    assert queued["model"] == {"name": "test-model", "version": "1.0.0"}
    leased_jobs = scripted_worker.start(most=1)
    started = await client.get(f"/jobs/{first}")
    assert (started.json()["status"], started.json()["stage"]) == ("started", "load")
    assert "retry-after" in started.headers
    scripted_worker.settle(leased_jobs)
    response = await client.get(f"/jobs/{first}")
    job = response.json()
    assert set(job) == JOB_MEMBERS
    assert (job["status"], job["attempts"], job["progress"]) == ("finished", 1, 1.0)
    assert queued["stage"] is job["stage"] is None
    for moment in ("created_at", "started_at", "finished_at"):
        assert TIMESTAMP.fullmatch(job[moment])
    assert job["result"]["tumor"] == {"present": False, "probability": 0.1, "volume_ml": 0.0}
    assert job["result"]["scan"]["shape"] == [8, 9, 10]
    assert (job["batch"]["size"], job["worker"], job["error"]) == (1, "stand-in", None)
    assert job["timings_s"]["inference"] == 0.21
    assert job["links"] == {
        "self": f"/jobs/{first}",
        "mask": f"/jobs/{first}/mask",
        "scan": f"/jobs/{first}/scan",
        "preview": f"/jobs/{first}/preview.png",
        "events": f"/jobs/{first}/events",
    }
    timing = response.headers["server-timing"]
    assert "inference;dur=210.0" in timing
    assert "total;dur=327.0" in timing


async def test_cancel_and_purge(
    client: httpx.AsyncClient, server: ApiServer, scripted_worker: ScriptedWorker
) -> None:
    """DELETE cancels a live job and keeps its record; it removes a terminal one completely."""
    queued = await submit(client)
    assert (await client.delete(f"/jobs/{queued}")).status_code == 204
    assert (await client.get(f"/jobs/{queued}")).json()["status"] == "canceled"
    done = await finished(client, scripted_worker)
    assert len(server.lasting_files()) == 4
    for job_id in (queued, done):
        assert (await client.delete(f"/jobs/{job_id}")).status_code == 204
        for path in ("", "/mask", "/scan", "/preview.png"):
            assert_problem(await client.get(f"/jobs/{job_id}{path}"), 404)
        assert_problem(await client.delete(f"/jobs/{job_id}"), 404)
    assert server.stored_files() == []


async def test_a_started_job_is_canceled(
    client: httpx.AsyncClient, queue: JobQueue, scripted_worker: ScriptedWorker
) -> None:
    """The outcome of a job that was cancelled meanwhile is dropped."""
    job_id = await submit(client)
    leased_jobs = scripted_worker.start()
    assert (await client.delete(f"/jobs/{job_id}")).status_code == 204
    scripted_worker.settle(leased_jobs)
    assert (await queue.get(job_id)).status is JobStatus.CANCELED


@pytest.mark.parametrize("job_id", ["x", "01M7YWF5PY3JX0233W3MSKYZ5", "../livez", "I" * 26, "%00"])
async def test_ill_formed_ids(client: httpx.AsyncClient, job_id: str) -> None:
    """A text that cannot be an id is a 404 problem."""
    response = await client.get(f"/jobs/{job_id.replace('/', '%2F')}")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


async def test_unknown_ids(client: httpx.AsyncClient) -> None:
    """A well-formed id of no job is a 404 on every call, waiting or not."""
    job_id = str(ULID())
    for path in ("", "/mask", "/scan", "/preview.png", "?wait=5"):
        assert_problem(await client.get(f"/jobs/{job_id}{path}"), 404)
    assert_problem(await client.delete(f"/jobs/{job_id}"), 404)


async def test_listing(client: httpx.AsyncClient, scripted_worker: ScriptedWorker) -> None:
    """Jobs are listed newest first, page by page, and by state."""
    ids = [await submit(client) for _ in range(5)]
    scripted_worker.settle(scripted_worker.start(most=2))
    listed: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/jobs", params=query)).json()
        listed += [job["id"] for job in page["jobs"]]
        cursor = page["next_cursor"]
    assert listed == ids[::-1]
    done = (await client.get("/jobs?status=finished")).json()["jobs"]
    assert [job["id"] for job in done] == [ids[1], ids[0]]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "status=done", "cursor=x", "cursor=" + "%20" * 26]
)
async def test_bad_listings(client: httpx.AsyncClient, query: str) -> None:
    """A bad limit, status or cursor is a 400, not corrected."""
    assert_problem(await client.get(f"/jobs?{query}"), 400)


async def test_times_are_utc(client: httpx.AsyncClient) -> None:
    """A job's times are in UTC."""
    job = (await client.get(f"/jobs/{await submit(client)}")).json()
    age = datetime.now(UTC) - datetime.fromisoformat(job["created_at"])
    assert 0 <= age.total_seconds() < 60
