"""Submitting again a scan that is in the store, and the sample scan."""

import httpx
import pytest
from ulid import ULID

from shared.queue.job_queue import JobQueue
from shared.sample import SAMPLE_SCAN
from shared.storage.store import ScanStore
from tests.support.api_server import RAW, SCAN, ApiServer, assert_problem, submit
from tests.support.scripted_worker import ScriptedWorker, blame_the_scan


@pytest.mark.parametrize("call", ["/jobs", "/predict?wait=0"])
async def test_a_scan_is_submitted_again(
    client: httpx.AsyncClient,
    scripted_worker: ScriptedWorker,
    queue: JobQueue,
    store: ScanStore,
    call: str,
) -> None:
    """The scan of a terminal job becomes a new job's, which keeps it when the old job is purged."""
    first = await submit(client)
    scripted_worker.settle(scripted_worker.start(), blame_the_scan)
    response = await client.post(call, json={"scan_of": first, "priority": "stat"})
    assert response.status_code == 202
    again = response.json()
    assert again["id"] != first
    assert (again["status"], again["priority"]) == ("queued", "stat")
    assert (await client.delete(f"/jobs/{first}")).status_code == 204
    old, new = (await client.get(f"/jobs/{first}")), await queue.get(again["id"])
    assert old.status_code == 404
    assert store.read(new.submission.scans["scan"]) == SCAN
    scripted_worker.settle(scripted_worker.start())
    job = (await client.get(f"/jobs/{again['id']}")).json()
    assert job["status"] == "finished"


async def test_all_channels_are_submitted_again(
    client: httpx.AsyncClient,
    scripted_worker: ScriptedWorker,
    queue: JobQueue,
    store: ScanStore,
    two_channel_model: str,
) -> None:
    """Each channel of a scan keeps its name; a model with other inputs is refused."""
    files = {"t1": SCAN, "flair": SCAN}
    submitted = await client.post(f"/jobs?model={two_channel_model}", files=files)
    first = submitted.json()["id"]
    await client.delete(f"/jobs/{first}")
    asked = {"scan_of": first, "model": two_channel_model}
    again = (await client.post("/jobs", json=asked)).json()
    scans = (await queue.get(again["id"])).submission.scans
    assert {name: store.read(key) for name, key in scans.items()} == files
    assert_problem(await client.post("/jobs", json={"scan_of": first}), 400, "t1")


async def test_what_cannot_be_submitted_again(
    client: httpx.AsyncClient, server: ApiServer, scripted_worker: ScriptedWorker
) -> None:
    """The scan of a live job, of a purged job or of no job is refused; nothing is kept."""
    live = await submit(client)
    assert_problem(await client.post("/jobs", json={"scan_of": live}), 409, "queued")
    scripted_worker.start()
    assert_problem(await client.post("/jobs", json={"scan_of": live}), 409, "started")
    assert_problem(await client.post("/jobs", json={"scan_of": str(ULID())}), 404, "purged")
    for wrong in ("../secret", 7, None, [live]):
        assert_problem(await client.post("/jobs", json={"scan_of": wrong}), 400, "id of a job")
    both = {"scan_of": live, "scan_path": "x.nii"}
    assert_problem(await client.post("/jobs", json=both), 400, "or else")
    assert len(server.lasting_files()) == 1


async def test_a_scan_that_left_the_store(
    client: httpx.AsyncClient, server: ApiServer, store: ScanStore
) -> None:
    """A job whose scan is missing in the store answers like a purged one."""
    job_id = await submit(client)
    await client.delete(f"/jobs/{job_id}")
    store.delete_job(job_id)
    assert_problem(await client.post("/jobs", json={"scan_of": job_id}), 404, "purged")
    assert server.stored_files() == []


async def test_the_sample_scan(client: httpx.AsyncClient) -> None:
    """The sample can be fetched and submitted, and a client that has it gets a 304."""
    sample = await client.get("/sample.nii.gz")
    assert sample.content == SAMPLE_SCAN.read_bytes()
    assert sample.headers["content-type"] == "application/gzip"
    known = {"If-None-Match": sample.headers["etag"]}
    assert (await client.get("/sample.nii.gz", headers=known)).status_code == 304
    assert (await client.post("/jobs", content=sample.content, headers=RAW)).status_code == 202
