"""Polling, blocking, fetching, cancelling and purging, over HTTP."""

import asyncio
import gzip
import io
import re
from datetime import UTC, datetime

import httpx
import nibabel
import numpy as np
import pytest
import redis
from ulid import ULID

from shared.errors import BadScan
from shared.job_queue import JobQueue
from shared.jobs import JobStatus
from shared.nifti import read_volume
from tests.conftest import Valkey
from tests.front_desk import RAW, SCAN, FrontDeskServer, assert_problem
from tests.reading_room import PICTURE, ReadingRoom
from worker.lease import Claim, Failed

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


def failed(claim: Claim) -> Failed:
    """Blame the scan."""
    return Failed(BadScan("as told").problem())


@pytest.fixture
def served(reading_room: ReadingRoom) -> ReadingRoom:
    """A reading room that serves whatever comes."""
    reading_room.serve()
    return reading_room


async def submit(client: httpx.AsyncClient) -> str:
    """Hand a scan in and return its job's id."""
    response = await client.post("/jobs", content=SCAN, headers=RAW)
    assert response.status_code == 202
    return str(response.json()["id"])


async def finished(client: httpx.AsyncClient, room: ReadingRoom) -> str:
    """Return the id of a job that was handed in and has finished."""
    job_id = await submit(client)
    room.settle(room.start())
    return job_id


async def test_the_life_of_a_job(client: httpx.AsyncClient, reading_room: ReadingRoom) -> None:
    """A job is queued with its position, started, and finished with all that was found."""
    first, second = await submit(client), await submit(client)
    queued = (await client.get(f"/jobs/{second}")).json()
    assert set(queued) == JOB_MEMBERS
    assert (queued["status"], queued["position"], queued["worker"]) == ("queued", 1, None)
    assert queued["model"] == {"name": "test-model", "version": "1.0.0"}
    claims = reading_room.start(most=1)
    started = await client.get(f"/jobs/{first}")
    assert (started.json()["status"], started.json()["stage"]) == ("started", "load")
    assert "retry-after" in started.headers
    reading_room.settle(claims)
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


@pytest.mark.usefixtures("served")
async def test_predict(client: httpx.AsyncClient) -> None:
    """A predict blocks and answers 200 with the finished job and its timings."""
    response = await client.post("/predict", files={"scan": SCAN})
    assert response.status_code == 200
    assert response.json()["status"] == "finished"
    assert "queue;dur=12.0" in response.headers["server-timing"]
    assert "preference-applied" not in response.headers


@pytest.mark.usefixtures("served")
async def test_a_blocking_call_tells_its_own_parts(client: httpx.AsyncClient) -> None:
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
    looked = await client.get(f"/jobs/{response.json()['id']}")
    for other in (again, looked):
        assert "queue;dur=12.0" in other.headers["server-timing"]
        assert "server" not in other.headers["server-timing"]


async def test_predict_of_a_bad_scan(client: httpx.AsyncClient, reading_room: ReadingRoom) -> None:
    """A job that failed is a 200 that says so: the call itself worked."""
    reading_room.serve(failed)
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
    """When the wait is over a predict is a 202 with Location, and the job goes on."""
    response = await client.post(f"/predict{query}", content=SCAN, headers=RAW | headers)
    assert response.status_code == 202
    assert response.headers.get("preference-applied") == applied
    assert int(response.headers["retry-after"]) >= 1
    job = await client.get(response.headers["location"])
    assert job.json()["status"] == "queued"


async def test_blocking_on_a_job(
    client: httpx.AsyncClient, server: FrontDeskServer, reading_room: ReadingRoom
) -> None:
    """GET with a wait is held until the job is terminal, by ?wait= and by Prefer alike."""
    job_id = await submit(client)
    calls = [
        asyncio.create_task(client.get(f"/jobs/{job_id}?wait=60")),
        asyncio.create_task(client.get(f"/jobs/{job_id}", headers={"Prefer": "wait=60"})),
    ]
    await server.until_blocked(2)
    claims = reading_room.start()
    assert not any(call.done() for call in calls)
    reading_room.settle(claims)
    by_query, by_header = await asyncio.gather(*calls)
    assert by_query.json()["status"] == by_header.json()["status"] == "finished"
    assert by_header.headers["preference-applied"] == "wait=60"
    assert server.blocked == 0


async def test_a_get_whose_wait_is_over(client: httpx.AsyncClient) -> None:
    """When the wait is over a GET is a 200 with the job as it stands."""
    response = await client.get(f"/jobs/{await submit(client)}?wait=0.05")
    assert response.status_code == 200
    assert response.json()["status"] == "queued"


@pytest.mark.parametrize("query", ["wait=-1", "wait=nan", "wait=1e9", "wait="])
async def test_bad_waits(client: httpx.AsyncClient, query: str) -> None:
    """A wait that is no number of seconds up to MAX_WAIT_S is a 400."""
    assert_problem(await client.get(f"/jobs/{ULID()}?{query}"), 400)


async def test_a_canceled_job_wakes_its_client(
    client: httpx.AsyncClient, server: FrontDeskServer
) -> None:
    """Whoever blocks on a job hears that it was cancelled."""
    predicting = asyncio.create_task(client.post("/predict", content=SCAN, headers=RAW))
    await server.until_blocked(1)
    job_id = (await client.get("/jobs")).json()["jobs"][0]["id"]
    assert (await client.delete(f"/jobs/{job_id}")).status_code == 204
    response = await predicting
    assert (response.status_code, response.json()["status"]) == (200, "canceled")


async def test_a_client_that_hangs_up_is_forgotten(
    client: httpx.AsyncClient, server: FrontDeskServer
) -> None:
    """A blocked client that hangs up is let go at once, and its job goes on."""
    job_id = await submit(client)
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"GET /jobs/{job_id}?wait=300 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await server.until_blocked(1)
    writer.close()
    await writer.wait_closed()
    await server.until_blocked(0)
    assert (await client.get(f"/jobs/{job_id}")).json()["status"] == "queued"


async def test_a_thousand_blocked_clients(
    client: httpx.AsyncClient, server: FrontDeskServer, reading_room: ReadingRoom, valkey: Valkey
) -> None:
    """A thousand clients block on one process over a handful of Redis connections; all wake."""
    ids = [await submit(client) for _ in range(20)]
    streams = await asyncio.gather(
        *(asyncio.open_connection("127.0.0.1", server.port) for _ in range(1000))
    )
    for number, (_, writer) in enumerate(streams):
        path = f"/jobs/{ids[number % len(ids)]}?wait=120"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    await server.until_blocked(1000)
    with redis.Redis.from_url(valkey.url) as admin:
        assert len(admin.client_list()) < 100
    assert "voxelq_http_blocked_clients 1000.0" in (await client.get("/metrics")).text
    assert (await client.get("/livez")).status_code == 200
    for _ in range(3):
        reading_room.settle(reading_room.start())
    answers = await asyncio.gather(*(reader.read() for reader, _ in streams))
    for _, writer in streams:
        writer.close()
    assert all(b'"status":"finished"' in answer for answer in answers)
    await server.until_blocked(0)


async def test_an_end_that_no_event_told(
    client: httpx.AsyncClient,
    server: FrontDeskServer,
    reading_room: ReadingRoom,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A job whose end no event told is found by the sweep."""
    monkeypatch.setattr("api.waiting.JobWaiter.heard", lambda *_: None)
    predicting = asyncio.create_task(client.post("/predict", content=SCAN, headers=RAW))
    await server.until_blocked(1)
    reading_room.settle(reading_room.start())
    assert (await predicting).json()["status"] == "finished"


async def test_files(
    client: httpx.AsyncClient, server: FrontDeskServer, reading_room: ReadingRoom
) -> None:
    """Mask, picture and scan come with their length, name and ETag; the mask fits the scan."""
    job_id = await finished(client, reading_room)
    mask = await client.get(f"/jobs/{job_id}/mask")
    scan = await client.get(f"/jobs/{job_id}/scan")
    preview = await client.get(f"/jobs/{job_id}/preview.png")
    assert scan.content == SCAN
    assert preview.content == PICTURE
    header = read_volume(io.BytesIO(mask.content), max_voxels=1000).header
    original = nibabel.Nifti1Image.from_bytes(gzip.decompress(SCAN))
    assert np.array_equal(header.affine, original.affine)
    assert header.shape == original.shape
    for response, media_type, name in (
        (mask, "application/gzip", f'attachment; filename="{job_id}-mask.nii.gz"'),
        (scan, "application/gzip", f'attachment; filename="{job_id}.nii.gz"'),
        (preview, "image/png", f'inline; filename="{job_id}.png"'),
    ):
        assert response.headers["content-type"] == media_type
        assert response.headers["content-disposition"] == name
        assert int(response.headers["content-length"]) == len(response.content)
        again = await client.get(
            response.url.path, headers={"If-None-Match": response.headers["etag"]}
        )
        assert (again.status_code, again.content) == (304, b"")
    assert mask.headers["etag"] != preview.headers["etag"]


async def test_files_before_the_end(client: httpx.AsyncClient, reading_room: ReadingRoom) -> None:
    """Until a job is finished its mask and picture are a 409 that says why; its scan is there."""

    async def expect(job_id: str, words: str) -> None:
        for name in ("mask", "preview.png"):
            assert_problem(await client.get(f"/jobs/{job_id}/{name}"), 409, words)
        assert (await client.get(f"/jobs/{job_id}/scan")).content == SCAN

    job_id = await submit(client)
    await expect(job_id, "queued")
    claims = reading_room.start()
    await expect(job_id, "started")
    reading_room.settle(claims, failed)
    await expect(job_id, "failed")
    canceled = await submit(client)
    await client.delete(f"/jobs/{canceled}")
    await expect(canceled, "canceled")


async def test_the_scan_of_a_channel(client: httpx.AsyncClient, two_channel_model: str) -> None:
    """A scan of several channels is fetched channel by channel; a wrong name is a 400."""
    other = gzip.decompress(SCAN)
    response = await client.post(
        "/jobs", params={"model": two_channel_model}, files={"t1": SCAN, "flair": other}
    )
    path = f"/jobs/{response.json()['id']}/scan"
    assert (await client.get(path)).content == SCAN
    flair = await client.get(path, params={"channel": "flair"})
    assert flair.content == other
    assert flair.headers["content-type"] == "application/octet-stream"
    assert flair.headers["content-disposition"].endswith('.nii"')
    assert_problem(await client.get(path, params={"channel": "pet"}), 400, "t1, flair")


async def test_cancel_and_purge(
    client: httpx.AsyncClient, server: FrontDeskServer, reading_room: ReadingRoom
) -> None:
    """DELETE cancels a live job and keeps it; of a terminal one it leaves nothing at all."""
    queued = await submit(client)
    assert (await client.delete(f"/jobs/{queued}")).status_code == 204
    assert (await client.get(f"/jobs/{queued}")).json()["status"] == "canceled"
    done = await finished(client, reading_room)
    assert len(server.lasting_files()) == 4
    for job_id in (queued, done):
        assert (await client.delete(f"/jobs/{job_id}")).status_code == 204
        for path in ("", "/mask", "/scan", "/preview.png"):
            assert_problem(await client.get(f"/jobs/{job_id}{path}"), 404)
        assert_problem(await client.delete(f"/jobs/{job_id}"), 404)
    assert server.stored_files() == []


async def test_a_started_job_is_canceled(
    client: httpx.AsyncClient, queue: JobQueue, reading_room: ReadingRoom
) -> None:
    """What a worker still computes of a cancelled job is dropped."""
    job_id = await submit(client)
    claims = reading_room.start()
    assert (await client.delete(f"/jobs/{job_id}")).status_code == 204
    reading_room.settle(claims)
    assert (await queue.get(job_id)).status is JobStatus.CANCELED


@pytest.mark.parametrize("job_id", ["x", "01M7YWF5PY3JX0233W3MSKYZ5", "../livez", "I" * 26, "%00"])
async def test_ill_formed_ids(client: httpx.AsyncClient, job_id: str) -> None:
    """What cannot be an id names no job: a 404 problem."""
    response = await client.get(f"/jobs/{job_id.replace('/', '%2F')}")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


async def test_unknown_ids(client: httpx.AsyncClient) -> None:
    """A well-formed id of no job is a 404 on every call, waiting or not."""
    job_id = str(ULID())
    for path in ("", "/mask", "/scan", "/preview.png", "?wait=5"):
        assert_problem(await client.get(f"/jobs/{job_id}{path}"), 404)
    assert_problem(await client.delete(f"/jobs/{job_id}"), 404)


async def test_listing(client: httpx.AsyncClient, reading_room: ReadingRoom) -> None:
    """Jobs are listed newest first, page by page, and by state."""
    ids = [await submit(client) for _ in range(5)]
    reading_room.settle(reading_room.start(most=2))
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
    """A job's creation is told in UTC."""
    job = (await client.get(f"/jobs/{await submit(client)}")).json()
    age = datetime.now(UTC) - datetime.fromisoformat(job["created_at"])
    assert 0 <= age.total_seconds() < 60
