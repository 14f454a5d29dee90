"""Refused submits: nothing is stored, nothing queued, and the problem says why."""

import asyncio
import os
import socket
from typing import Any

import httpx
import numpy as np
import pytest

from shared.queue.job_queue import JobQueue
from shared.settings import Settings
from tests.support.api_server import RAW, SCAN, ApiServer, assert_problem
from tests.support.scans import AFFINE, gz, nifti, voxels


async def test_bad_channels(
    client: httpx.AsyncClient, server: ApiServer, two_channel_model: str
) -> None:
    """A missing channel and different grids are a 422, a field of another model is a 400."""
    query = {"model": two_channel_model}
    other_affine, other_shape = AFFINE + np.eye(4) * 0.1, voxels((8, 9, 11))
    cases: list[tuple[dict[str, bytes], int, str]] = [
        ({"t1": SCAN}, 422, "flair"),
        ({"t1": SCAN, "flair": nifti(affine=other_affine)}, 422, "grids"),
        ({"t1": SCAN, "flair": nifti(other_shape)}, 422, "grids"),
        ({"t1": SCAN, "flair": SCAN, "scan": SCAN}, 400, "no field scan"),
    ]
    for files, status, words in cases:
        assert_problem(await client.post("/jobs", params=query, files=files), status, words)
    raw = await client.post("/jobs", params=query, content=SCAN, headers=RAW)
    assert_problem(raw, 422, "t1")
    assert_problem(await client.post("/jobs", files={"t1": SCAN}), 400, "does not take t1")
    assert_problem(await client.post("/jobs", data={"priority": "stat"}, files=[]), 415)
    assert server.stored_files() == []


async def test_a_form_without_a_scan(client: httpx.AsyncClient) -> None:
    """A form that has no scan is a 422 that names the field."""
    response = await client.post("/jobs", files=[("priority", (None, "stat"))])
    assert_problem(response, 422, "scan")


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", 422, "empty"),
        (b"this is a text and no scan", 415, "neither"),
        (gz(b"this is a text and no scan"), 415, "neither"),
        (nifti(magic=b"ni1"), 415, "single .nii"),
        (SCAN[:-1], 422, "truncated"),
        (nifti()[:-1], 422, "fewer voxels"),
        (gz(nifti() + bytes(9)), 422, "more than its header promises"),
        (SCAN[:-8] + b"\0" * 8, 422, "damaged"),
        (gz(nifti(voxels((8, 9, 10, 2)))), 422, "not 3D"),
        (gz(nifti(np.full((8, 9, 10), np.nan, "f4"))), 422, "not finite"),
        (gz(nifti(np.full((8, 9, 10), 7, "f4"))), 422, "same value"),
        (gz(nifti(srow_x=[0, 0, 0, 0])), 422, "singular"),
        (gz(nifti(pixdim=[1, 0, 1, 1, 0, 0, 0, 0])), 422, "zero"),
        (gz(nifti(datatype=32)), 422, "complex"),
        (gz(nifti(version=2, dim=[3, 60_000, 60_000, 60_000, 1, 1, 1, 1])), 413, "voxels"),
    ],
)
@pytest.mark.parametrize("framing", ["form", "raw"])
async def test_refused_scans(
    client: httpx.AsyncClient,
    server: ApiServer,
    queue: JobQueue,
    content: bytes,
    status: int,
    words: str,
    framing: str,
) -> None:
    """A bad scan is refused at submit with the reason; nothing is stored and nothing queued."""
    if framing == "form":
        response = await client.post("/jobs", files={"scan": ("jane-doe.nii", content)})
    else:
        response = await client.post("/predict", content=content, headers=RAW)
    assert_problem(response, status, words)
    assert "jane" not in response.text
    assert server.stored_files() == []
    assert (await queue.state()).queued == 0


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("priority=urgent", 400),
        ("wait=-1", 400),
        ("wait=nan", 400),
        ("wait=inf", 400),
        ("wait=301", 400),
        ("wait=soon", 400),
        ("callback_url=http://example.org", 400),
        ("modle=test-model", 400),
        ("model=a&model=b", 400),
        ("model=", 400),
        ("model=unknown", 404),
        ("model=test-model@9.9.9", 404),
    ],
)
async def test_refused_parameters(client: httpx.AsyncClient, query: str, status: int) -> None:
    """Bad or unknown parameters are refused, not corrected and not ignored."""
    assert_problem(await client.post(f"/jobs?{query}", content=SCAN, headers=RAW), status)


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Prefer": "wait=-1"}, "wait"),
        ({"Prefer": "wait=301"}, "wait"),
        ({"Prefer": "wait=NaN"}, "wait"),
        ({"Idempotency-Key": ""}, "idempotency-key"),
        ({"Idempotency-Key": "x" * 256}, "idempotency-key"),
        ({"Idempotency-Key": "a\tb"}, "idempotency-key"),
    ],
)
async def test_refused_headers(
    client: httpx.AsyncClient, headers: dict[str, str], words: str
) -> None:
    """Bad values of Prefer and Idempotency-Key are a 400."""
    response = await client.post("/jobs", content=SCAN, headers=RAW | headers)
    assert_problem(response, 400, words)


async def test_refused_forms(client: httpx.AsyncClient, server: ApiServer) -> None:
    """Malformed forms, unknown, long and repeated fields are a 400, and nothing is kept."""
    files = {"scan": SCAN}
    for data in (
        {"callback_url": "http://example.org"},
        {"priority": "urgent"},
        {"model": ""},
        {"priority": "x" * 2000},
    ):
        assert_problem(await client.post("/jobs", files=files, data=data), 400)
    twice = await client.post("/jobs", files=[("scan", SCAN), ("scan", SCAN)])
    assert_problem(twice, 400, "twice")
    both = await client.post("/jobs?priority=bulk", files=files, data={"priority": "stat"})
    assert_problem(both, 400, "twice")
    for content_type, body in (
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=" + "b" * 300, b"x"),
        ("multipart/form-data; boundary=b", b"no boundary here"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data; name=scan"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="scan"\r\n\r\n' + SCAN + b"\r\n--b",
        ),
    ):
        response = await client.post("/jobs", content=body, headers={"Content-Type": content_type})
        assert_problem(response, 400)
    assert server.stored_files() == []


async def test_unknown_media(client: httpx.AsyncClient) -> None:
    """A body of another type is a 415 that lists the accepted types."""
    response = await client.post("/jobs", content=SCAN, headers={"Content-Type": "image/png"})
    assert_problem(response, 415, "multipart/form-data")


async def _raw_exchange(port: int, request: bytes) -> bytes:
    """Send ``request`` and no more; return the answer's head while the call is still open."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        async with asyncio.timeout(20):
            return await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_length_over_the_limit_is_refused_before_the_body(server: ApiServer) -> None:
    """Content-Length over MAX_SCAN_BYTES is a 413 without a byte of the body, or a 100."""
    for content_type in ("application/octet-stream", "multipart/form-data; boundary=b"):
        head = (
            f"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
            f"Content-Length: {2 << 30}\r\nExpect: 100-continue\r\n\r\n"
        )
        answer = await _raw_exchange(server.port, head.encode())
        assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (
            nifti(version=2, dim=[3, 60_000, 60_000, 60_000, 1, 1, 1, 1], body=bytes(1 << 16)),
            b"413",
        ),
        (nifti(voxels((8, 9, 10, 2)), body=bytes(1 << 16)), b"422"),
        (gz(nifti(srow_x=[0, 0, 0, 0], body=os.urandom(1 << 16))), b"422"),
        (b"\0" * (1 << 16), b"415"),
    ],
)
@pytest.mark.parametrize("framing", ["raw", "form"])
async def test_a_bad_header_is_refused_while_the_client_still_sends(
    server: ApiServer, start: bytes, status: bytes, framing: str
) -> None:
    """A client that has sent 64 KiB of a large body gets the problem of its header."""
    if framing == "raw":
        content_type, body = "application/octet-stream", start
    else:
        content_type = "multipart/form-data; boundary=b"
        body = b'--b\r\nContent-Disposition: form-data; name="scan"; filename="x"\r\n\r\n' + start
    head = (
        f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {500 << 20}\r\n\r\n"
    )
    answer = await _raw_exchange(server.port, head.encode() + body[: 1 << 16])
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert server.stored_files() == []


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
async def test_a_client_that_sends_all_before_it_reads(
    client: httpx.AsyncClient, server: ApiServer, connection: str
) -> None:
    """A refusal reaches a client that first sends its whole large body."""
    body = nifti(voxels((8, 9, 10, 2)), body=bytes(24 << 20))
    headers = RAW | {"Connection": connection}
    assert_problem(await client.post("/jobs", content=body, headers=headers), 422, "not 3D")
    blocking = await asyncio.to_thread(_post_before_reading, server.port, body, connection)
    assert blocking.startswith(b"HTTP/1.1 422")


def _post_before_reading(port: int, body: bytes, connection: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as plain:
        head = f"POST /jobs HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n"
        plain.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return plain.recv(100)


async def test_an_upload_cut_short_leaves_nothing(
    server: ApiServer, queue: JobQueue, client: httpx.AsyncClient
) -> None:
    """A client that disconnects in the middle of its scan leaves no file and no job."""
    head = b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(head + nifti()[:1000])
    await server.until(lambda: server.stored_files() != [])
    writer.close()
    await writer.wait_closed()
    await server.until(lambda: server.stored_files() == [])
    assert (await queue.state()).queued == 0
    assert (await client.get("/livez")).status_code == 200


async def test_more_than_max_scan_bytes_without_a_length(settings: Settings) -> None:
    """A body without a length is cut off at MAX_SCAN_BYTES."""
    server = ApiServer(settings.model_copy(update={"max_scan_bytes": 100_000}))
    server.start()
    try:

        async def endless() -> Any:
            yield nifti(dim=[3, 500, 500, 500, 1, 1, 1, 1], body=b"")
            for _ in range(40):
                yield bytes(10_000)

        async with httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client:
            response = await client.post("/jobs", content=endless(), headers=RAW)
            assert_problem(response, 413)
        assert server.stored_files() == []
    finally:
        server.stop()


async def test_a_full_queue(settings: Settings) -> None:
    """Beyond MAX_QUEUED a submit is a 429 with Retry-After, and its scan is deleted."""
    server = ApiServer(settings.model_copy(update={"max_queued": 2}))
    server.start()
    try:
        async with httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client:
            calls = (client.post("/jobs", content=SCAN, headers=RAW) for _ in range(12))
            answers = await asyncio.gather(*calls)
        assert sorted(answer.status_code for answer in answers) == [202] * 2 + [429] * 10
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert int(refused.headers["retry-after"]) >= 1
        assert len(server.lasting_files()) == 2
    finally:
        server.stop()
