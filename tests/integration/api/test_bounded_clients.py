"""Limits for clients that send too slowly, too much, or too many requests at once."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from shared.settings import Settings
from tests.support.api_server import RAW, SCAN, ApiServer, assert_problem, submit
from tests.support.raw_http import raw_connection
from tests.support.scans import nifti

HEAD = ("GET /livez HTTP/1.1", "Host: localhost")


@pytest.fixture
def hasty(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> ApiServer:
    """A service with very short timeouts for heads and bodies."""
    monkeypatch.setattr("api.http.connection.HEAD_TIMEOUT_S", 0.3)
    monkeypatch.setattr("api.submission.request_body.IDLE_S", 0.5)
    monkeypatch.setattr("api.submission.request_body.GRACE_S", 0.3)
    return server


@pytest.fixture
def narrow(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """A service that takes one upload at a time."""
    monkeypatch.setattr("api.admission.upload_gate.SLOT_WAIT_S", 0.3)
    server = ApiServer(settings.model_copy(update={"max_uploads": 1}))
    server.start()
    yield server
    server.stop()


async def test_half_a_head_times_out(hasty: ApiServer) -> None:
    """Fifty clients that send half their headers each get a 408 and are disconnected."""

    async def half() -> None:
        async with raw_connection(hasty.port) as connection:
            connection.writer.write(b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nX-Slow")
            await connection.assert_problem(408)
            await connection.assert_closed()

    await asyncio.gather(*(half() for _ in range(50)))
    assert not hasty.server.server_state.connections


async def test_a_head_that_drips_times_out(hasty: ApiServer) -> None:
    """A byte now and then does not extend the timeout."""
    async with raw_connection(hasty.port) as connection:
        connection.writer.write(b"GET /livez HTTP/1.1\r\nX-Slow: ")
        dripping = asyncio.create_task(_drip(connection.writer))
        await connection.assert_problem(408)
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)


async def _drip(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"G")
        await asyncio.sleep(0.05)


async def test_a_silent_connection_is_closed(hasty: ApiServer) -> None:
    """A new connection without a byte is closed without an answer."""
    async with raw_connection(hasty.port) as connection:
        await connection.assert_closed()


async def test_a_keep_alive_connection_is_bounded_too(hasty: ApiServer) -> None:
    """After a first answer the next head has the same timeout."""
    async with raw_connection(hasty.port) as connection:
        connection.send(*HEAD)
        status, headers = await connection.head()
        assert status == 200
        await connection.body(headers)
        connection.writer.write(b"GET /livez HTTP/1.1\r\nHos")
        await connection.assert_problem(408)
        await connection.assert_closed()


async def test_a_blocked_client_outlasts_the_head_timeout(
    hasty: ApiServer, client: httpx.AsyncClient
) -> None:
    """The timeout for a head does not run while a client waits for its answer."""
    job_id = await submit(client)
    answer = await client.get(f"/jobs/{job_id}?wait=1")
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "flood",
    [
        b"GET /" + b"a" * 200_000,
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Large: " + b"a" * 200_000,
        b"GET /livez HTTP/1.1\r\n" + b"X-Many: a\r\n" * 20_000,
        b"GET /livez HTTP/1.1\r\nX-" + b"a" * 200_000,
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
    ],
)
async def test_headers_that_never_end(server: ApiServer, flood: bytes) -> None:
    """A head over its limit is a 431 and a closed connection, in each way to exceed it."""
    async with raw_connection(server.port) as connection:
        connection.writer.write(flood)
        await connection.assert_problem(431)
        await connection.assert_closed()


async def test_trailers_that_never_end(server: ApiServer) -> None:
    """Trailers after a body have the same limit as headers: the connection is closed."""
    async with raw_connection(server.port) as connection:
        connection.send(
            "POST /nope HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked", body=b"0\r\n"
        )
        with pytest.raises(ConnectionError):
            await _flood(connection.writer, b"X-Trailer: a\r\n" * 100)


async def _flood(writer: asyncio.StreamWriter, piece: bytes) -> None:
    async with asyncio.timeout(60):
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)


async def test_what_is_not_http(server: ApiServer) -> None:
    """Bytes that are no HTTP request are a problem too, and are counted."""
    for noise in (b"\x16\x03\x01\x02\0", b"GET\r\n\r\n", b"CONNECT x HTTP/1.1\r\n\r\n"):
        async with raw_connection(server.port) as connection:
            connection.writer.write(noise)
            await connection.assert_problem(400)
    async with httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client:
        metrics = (await client.get("/metrics")).text
    assert 'http_requests_total{method="unknown",route="unknown",status="400"} 3.0' in metrics


async def test_too_many_connections(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over its limit a process refuses connections, and accepts them again once some are closed."""
    monkeypatch.setattr("api.http.connection.MAX_CONNECTIONS", 3)
    async with raw_connection(server.port), raw_connection(server.port):
        async with raw_connection(server.port), raw_connection(server.port) as connection:
            headers = await connection.assert_problem(503)
            assert int(headers["retry-after"]) >= 1
        await server.until(lambda: len(server.server.server_state.connections) == 2)
        async with raw_connection(server.port) as connection:
            connection.send(*HEAD)
            assert (await connection.head())[0] == 200


async def test_an_upload_that_stops(hasty: ApiServer) -> None:
    """Fifty uploads that stop are each a 408, their connections are closed and nothing is kept."""

    async def stalled() -> None:
        async with raw_connection(hasty.port) as connection:
            connection.send(
                "POST /jobs HTTP/1.1",
                "Host: localhost",
                "Content-Length: 1000000",
                body=nifti()[:1000],
            )
            await connection.assert_problem(408)
            await connection.assert_closed()

    await asyncio.gather(*(stalled() for _ in range(50)))
    await hasty.until(lambda: hasty.stored_files() == [])


async def test_an_upload_that_drips(hasty: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body below MIN_UPLOAD_BYTES_PER_S is a 408, though it never stops."""
    monkeypatch.setattr("api.submission.request_body.GRACE_S", 1.0)
    monkeypatch.setattr("api.http.drain_body.DRAIN_S", 0.2)
    async with raw_connection(hasty.port) as connection:
        head = ("POST /jobs HTTP/1.1", "Host: localhost", "Content-Length: 1000000")
        connection.send(*head, body=nifti(body=b""))
        dripping = asyncio.create_task(_drip(connection.writer))
        await connection.assert_problem(408)
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)


async def test_uploads_at_once_are_bounded(narrow: ApiServer) -> None:
    """Over MAX_UPLOADS an upload is a 503 before its body; a little later one is accepted."""
    async with httpx.AsyncClient(base_url=narrow.url, timeout=60, trust_env=False) as client:
        async with raw_connection(narrow.port) as first:
            first.send("POST /jobs HTTP/1.1", "Host: localhost", f"Content-Length: {len(SCAN)}",
                       body=SCAN[:-9])  # fmt: skip
            await narrow.until(lambda: narrow.stored_files() != [])
            async with raw_connection(narrow.port) as second:
                second.send("POST /jobs HTTP/1.1", "Host: localhost", "Content-Length: 1000000")
                headers = await second.assert_problem(503)
                assert int(headers["retry-after"]) >= 1
            assert (await client.get("/jobs")).status_code == 200
            first.writer.write(SCAN[-9:])
            assert (await first.head())[0] == 202
        assert await submit(client)


async def test_a_full_queue_refuses_before_the_body(settings: Settings) -> None:
    """With the queue full, headers alone are answered 429; a known idempotency key is accepted."""
    server = ApiServer(settings.model_copy(update={"max_queued": 1}))
    server.start()
    try:
        async with httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client:
            keyed = RAW | {"Idempotency-Key": "mine"}
            first = await client.post("/jobs", content=SCAN, headers=keyed)
            await asyncio.sleep(0.6)  # longer than the state of the queue is cached
            async with raw_connection(server.port) as connection:
                connection.send("POST /jobs HTTP/1.1", "Host: localhost", "Content-Length: 999999")
                headers = await connection.assert_problem(429)
                assert int(headers["retry-after"]) >= 1
            again = await client.post("/jobs", content=SCAN, headers=keyed)
            assert again.json()["id"] == first.json()["id"]
            other = await client.post("/jobs", content=SCAN, headers=RAW | {"Idempotency-Key": "b"})
            assert_problem(other, 429)
        assert len(server.lasting_files()) == 1
    finally:
        server.stop()


async def test_an_unread_answer_is_aborted(
    server: ApiServer, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that requests a file and does not read it loses its connection."""
    monkeypatch.setattr("api.http.connection.UNREAD_TIMEOUT_S", 0.3)
    large = nifti(dim=[3, 300, 300, 300, 1, 1, 1, 1], body=b"")
    body = large + bytes(300**3 * 2 - 1) + b"\1"
    job_id = (await client.post("/jobs", content=body, headers=RAW)).json()["id"]
    async with raw_connection(server.port) as connection:
        connection.send(f"GET /jobs/{job_id}/scan HTTP/1.1", "Host: localhost")
        assert (await connection.head())[0] == 200
        await server.until(lambda: len(server.server.server_state.connections) == 1)  # the other's
