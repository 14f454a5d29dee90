"""The Python client against a real HTTP server."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.tiny_service import TinyService, events, job, problem, serving
from voxelq.cli.http_client import ClientError, VoxelQClient


@pytest.fixture
def service() -> Iterator[TinyService]:
    """A service of the test's own."""
    with serving() as tiny:
        yield tiny


@pytest.fixture
def client(service: TinyService) -> Iterator[VoxelQClient]:
    """A client of that service."""
    with VoxelQClient(service.url) as opened:
        yield opened


def test_progress_is_told_in_bytes_up_to_the_whole_file(
    service: TinyService, client: VoxelQClient, tmp_path: Path
) -> None:
    """The callback hears a rising count of bytes that ends at the file's size."""
    scan = tmp_path / "scan.nii"
    scan.write_bytes(bytes(3_000_000))
    service.on("POST", "/jobs", 202, job())
    told: list[int] = []
    client.submit(scan, idempotency_key="k", on_progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 3_000_000
    assert len(told) > 1
    assert service.requests[0].headers["content-length"] == "3000000"
    assert service.requests[0].headers["idempotency-key"] == "k"


def test_wait_is_a_long_poll_until_the_job_is_terminal(
    service: TinyService, client: VoxelQClient
) -> None:
    """Waiting asks the service to hold its answer and tells every state it hears of."""
    for status in ("queued", "started", "finished"):
        service.on("GET", "/jobs/01JOB", 200, job(status=status))
    heard: list[str] = []
    assert client.wait("01JOB", on_change=lambda job: heard.append(job.status)).terminal
    assert heard == ["queued", "started", "finished"]
    assert {request.path for request in service.requests} == {"/jobs/01JOB?wait=20"}


def test_wait_bears_with_a_service_that_comes_back(
    service: TinyService, client: VoxelQClient
) -> None:
    """A service that is away for a moment does not end the wait."""
    service.on("GET", "/jobs/01JOB", 503, problem(503, "Redis is away."))
    service.on("GET", "/jobs/01JOB", 200, job(status="finished"))
    assert client.wait("01JOB").status == "finished"


def test_a_refused_download_leaves_no_file(
    service: TinyService, client: VoxelQClient, tmp_path: Path
) -> None:
    """A mask that is not there yet raises the service's words and writes nothing."""
    service.on("GET", "/jobs/01JOB/mask", 409, problem(409, "Not finished."))
    with pytest.raises(ClientError, match="Not finished") as refusal:
        client.mask("01JOB", tmp_path / "mask.nii.gz")
    assert refusal.value.status == 409
    assert list(tmp_path.iterdir()) == []


def test_a_stranger_at_the_address_is_named_as_one(
    service: TinyService, client: VoxelQClient
) -> None:
    """Another web server at the URL gives a clear error and no traceback."""
    service.on("GET", "/models", 200, b"<html>hello</html>")
    service.on("GET", "/queue", 200, {"queued": 0, "started": 0, "workers": []})
    with pytest.raises(ClientError, match="not as a VoxelQ service"):
        client.models()
    assert client.queue()["queued"] == 0


def test_one_client_may_be_used_by_many_threads(service: TinyService, client: VoxelQClient) -> None:
    """Threads share one client without mixing up their answers."""
    for number in range(8):
        service.on("GET", f"/jobs/{number}", 200, job(str(number)))
    seen: dict[int, str] = {}
    threads = [
        threading.Thread(target=lambda n=number: seen.update({n: client.job(str(n)).id}))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {number: str(number) for number in range(8)}


EVENTS, STREAM = "/jobs/01JOB/events", "text/event-stream; charset=utf-8"


def followed(client: VoxelQClient) -> list[tuple[str, float]]:
    """Follow a job to its end; return what was heard of it."""
    heard: list[tuple[str, float]] = []
    end = client.follow("01JOB", lambda job: heard.append((job.status, job.progress)))
    assert end.status == "finished"
    return heard


def test_a_job_is_followed_by_its_events(service: TinyService, client: VoxelQClient) -> None:
    """Following tells each message in order, and asks for nothing but the stream."""
    told = [job(), job(status="started", progress=0.5), job(status="finished", progress=1.0)]
    service.on("GET", EVENTS, 200, events(*told), STREAM)
    assert followed(client) == [("queued", 0.0), ("started", 0.5), ("finished", 1.0)]
    assert [request.path for request in service.requests] == [EVENTS]


def test_a_stream_that_was_cut_is_gone_on_with(service: TinyService, client: VoxelQClient) -> None:
    """Where a stream ends before its job does, the next begins after the last message heard."""
    service.on("GET", EVENTS, 200, events(job(), job(status="started")), STREAM)
    service.on("GET", EVENTS, 200, events(job(status="finished"), first_id=3), STREAM)
    assert [status for status, _ in followed(client)] == ["queued", "started", "finished"]
    first, second = service.requests
    assert "last-event-id" not in first.headers
    assert second.headers["last-event-id"] == "2"


@pytest.mark.parametrize(
    ("status", "body", "media_type"),
    [
        (404, problem(404, "No call of this service has this path."), "application/problem+json"),
        (503, problem(503, "Redis is away."), "application/problem+json"),
        (204, b"", STREAM),
        (200, b": a comment\n\n", STREAM),
        (200, b"event: job\nid: 1\ndata: {}\n\n", STREAM),
        (200, b"<html>", "text/html"),
    ],
)
def test_without_events_following_is_a_long_poll(
    service: TinyService, client: VoxelQClient, status: int, body: object, media_type: str
) -> None:
    """A service that answers with no events is asked as it would be without them."""
    service.on("GET", EVENTS, status, body, media_type)
    for state in ("started", "finished"):
        service.on("GET", "/jobs/01JOB", 200, job(status=state))
    assert [status for status, _ in followed(client)] == ["started", "finished"]
    asked = [request.path for request in service.requests]
    assert asked == [EVENTS, "/jobs/01JOB?wait=20", "/jobs/01JOB?wait=20"]
