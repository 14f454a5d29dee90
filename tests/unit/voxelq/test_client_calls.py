"""The Python client, blocking and awaiting, against a real HTTP server."""

import asyncio
import gc
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import voxelq
from tests.support.both_clients import BOTH
from tests.support.scans import gz, nifti
from tests.support.tiny_service import TinyService, job, problem, serving
from voxelq import AsyncClient, BadScan, Client, JobState, ServiceUnreachable, as_completed

SCAN = gz(nifti())


@pytest.fixture
def service() -> Iterator[TinyService]:
    """A service of the test's own."""
    with serving() as tiny:
        yield tiny


@pytest.fixture(params=BOTH)
def client(service: TinyService, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A client of that service, blocking or asynchronous."""
    with BOTH[request.param](service.url, key="secret") as opened:
        yield opened


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the pauses before retries very short."""
    monkeypatch.setattr("voxelq.protocol.sending.FIRST_PAUSE_S", 0.001)


def test_a_scan_is_predicted_in_one_call(service: TinyService, client: Any, tmp_path: Path) -> None:
    """A submit and one long poll give the result; mask and picture are fetched on request."""
    service.on("POST", "/jobs", 202, job())
    service.on("GET", "/jobs/01JOB", 200, job(status="finished"))
    service.on("GET", "/jobs/01JOB/mask", 200, SCAN, "application/gzip")
    service.on("GET", "/jobs/01JOB/preview.png", 200, b"PNG", "image/png")
    found = client.predict(SCAN, model="m", priority="bulk", wait_s=60)
    assert (found.present, found.probability, found.volume_ml) == (True, 0.97, 83.1)
    assert (found.timings_s["total"], found.model.name, found.job.id) == (
        0.33,
        "brain-tumor",
        "01JOB",
    )
    assert (found.labels, found.warnings) == ((), ())
    assert found.mask().shape == (8, 9, 10)
    assert found.mask_bytes() == found.save_mask(tmp_path / "m.nii.gz").read_bytes() == SCAN
    assert found.save_mask(str(tmp_path / "m.nii")).read_bytes() == nifti()
    assert found.preview() == found.save_preview(tmp_path / "m.png").read_bytes() == b"PNG"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.nii", "m.nii.gz", "m.png"]
    submit = service.requests[0]
    assert (submit.path, submit.body) == ("/jobs?model=m&priority=bulk", SCAN)
    assert all(request.headers["x-api-key"] == "secret" for request in service.requests)


def test_a_broken_connection_has_the_same_scan_sent_again(
    service: TinyService, client: Any, tmp_path: Path
) -> None:
    """A file is opened again for the retry, which has the same idempotency key."""
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(SCAN)
    service.cuts = 2
    service.on("POST", "/jobs", 202, job())
    assert client.submit({"t1": path, "flair": path}).id == "01JOB"
    assert len(service.requests) == 3
    assert len({request.headers["idempotency-key"] for request in service.requests}) == 1
    assert len({request.body for request in service.requests}) == 1


def test_a_job_is_fetched_canceled_and_deleted(service: TinyService, client: Any) -> None:
    """Each call of a job is one call of the service, and the job shows the last response."""
    for status in ("queued", "started", "started", "canceled", "canceled"):
        service.on("GET", "/jobs/01JOB", 200, job(status=status))
    service.on("DELETE", "/jobs/01JOB", 204, b"")
    held = client.job("01JOB")
    assert held.refresh().status == "started"
    held.cancel()
    assert held.status == "canceled"
    held.delete()
    methods = [request.method for request in service.requests]
    assert methods == ["GET", "GET", "GET", "DELETE", "GET", "GET", "DELETE"]
    assert client.cancel("01JOB").status == "canceled"


def test_jobs_are_listed_and_awaited(service: TinyService, client: Any) -> None:
    """Listing yields jobs that can be awaited, one by one or together."""
    listed = [job(name, status="finished") for name in "AB"]
    service.on("GET", "/jobs", 200, {"jobs": listed, "next_cursor": None})
    jobs = list(client.jobs("finished", 10))
    assert [one.id for one in jobs] == ["A", "B"]
    page = client.job_page("finished", limit=10, cursor="C")
    assert [state.id for state in page.jobs] == ["A", "B"]
    assert service.requests[-1].path == "/jobs?status=finished&limit=10&cursor=C"
    done = list(client.as_completed(jobs, timeout_s=1))
    assert [(one.id, one.wait().present) for one in done] == [("A", True), ("B", True)]


def test_models_queue_and_readiness_are_fetched(service: TinyService, client: Any) -> None:
    """The models, the state of the queue, and the readiness are fetched."""
    service.on("GET", "/models", 200, {"models": [{"name": "m", "version": "1", "default": True}]})
    service.on("GET", "/queue", 200, {"queued": 2, "started": 1, "workers": [{"id": "w"}]})
    service.on("GET", "/readyz", 503, problem(503, "No worker is listening."))
    service.on("GET", "/readyz", 200, {"status": "ok"})
    assert client.models().default.name == "m"
    service.on("GET", "/models/m@1", 200, {"name": "m", "version": "1"})
    assert client.model("m@1").version == "1"
    assert client.queue().workers[0].id == "w"
    assert (client.ready(), client.ready()) == (False, True)


def test_a_refusal_is_raised(service: TinyService, client: Any) -> None:
    """A refusal of the service is an error of its kind, with the service's reason."""
    service.on(
        "POST", "/jobs", 422, problem(422, "The volume is not 3D."), "application/problem+json"
    )
    with pytest.raises(BadScan, match="not 3D"):
        client.submit(SCAN)
    assert len(service.requests) == 1


def test_progress_is_reported(service: TinyService, client: Any) -> None:
    """The callback receives every change until the end."""
    service.on("POST", "/jobs", 202, job())
    service.on("GET", "/jobs/01JOB", 200, job(status="started", progress=0.5))
    service.on("GET", "/jobs/01JOB", 200, job(status="finished", progress=1.0))
    reported: list[JobState] = []
    client.predict(SCAN, on_progress=reported.append)
    assert [state.status for state in reported] == ["queued", "started", "finished"]


def test_a_coroutine_may_follow_the_progress(service: TinyService) -> None:
    """The asynchronous client awaits a callback that is a coroutine function."""
    service.on("GET", "/jobs/01JOB", 200, job(status="finished"))
    reported: list[str] = []

    async def note(state: JobState) -> None:
        await asyncio.sleep(0)
        reported.append(state.status)

    async def follow() -> None:
        async with AsyncClient(service.url) as client:
            await (await client.job("01JOB")).wait(on_progress=note)

    asyncio.run(follow())
    assert reported == ["finished"]


def test_a_canceled_task_leaves_nothing_open(tmp_path: Path) -> None:
    """A task that is canceled during an upload ends at once, and closes its file."""
    path = tmp_path / "scan.nii"
    path.write_bytes(bytes(32_000_000))

    async def cancel_upload(port: int) -> None:
        async with AsyncClient(f"http://127.0.0.1:{port}") as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await client.submit(path)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        asyncio.run(cancel_upload(silent.getsockname()[1]))
    gc.collect()


@pytest.mark.parametrize("kind", BOTH)
def test_an_address_without_a_service_is_an_error_after_the_retries(kind: str) -> None:
    """Without a service every call raises, except `is_ready`, which returns False."""
    with BOTH[kind]("http://127.0.0.1:9", retries=1) as client:
        assert not client.ready()
        with pytest.raises(ServiceUnreachable, match=r"No VoxelQ service answers at http://127"):
            client.submit(SCAN)
    with pytest.raises(ValueError, match="retries"):
        Client(retries=-1)


def test_a_mask_that_cannot_be_written_leaves_nothing(
    service: TinyService, client: Any, tmp_path: Path
) -> None:
    """If the destination is a folder, an OSError is raised and no file is left beside it."""
    service.on("GET", "/jobs/01JOB", 200, job(status="finished"))
    service.on("GET", "/jobs/01JOB/mask", 200, SCAN, "application/gzip")
    (tmp_path / "mask.nii.gz").mkdir()
    with pytest.raises(OSError, match="mask"):
        client.job("01JOB").wait().save_mask(tmp_path / "mask.nii.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["mask.nii.gz"]


def test_the_function_takes_jobs_of_one_client(service: TinyService) -> None:
    """`as_completed` finds the client of its jobs, and refuses those of several."""
    service.on("GET", "/jobs/01JOB", 200, job(status="finished"))
    with Client(service.url) as one, Client(service.url) as other:
        jobs = [one.job("01JOB"), other.job("01JOB")]
        assert [done.id for done in as_completed(jobs[:1])] == ["01JOB"]
        assert list(as_completed([])) == []
        with pytest.raises(ValueError, match="several clients"):
            as_completed(jobs)
        with pytest.raises(TypeError, match=r"AsyncClient\.as_completed"):
            as_completed([object()])  # type: ignore[list-item]


def test_threads_share_a_client(service: TinyService) -> None:
    """A thread never gets a response that belongs to another."""
    seen: dict[str, str] = {}
    for number in range(8):
        service.on("GET", f"/jobs/{number}", 200, job(str(number)))
    with Client(service.url) as client:

        def fetch(job_id: str) -> None:
            seen[job_id] = client.job(job_id).id

        threads = [threading.Thread(target=fetch, args=(str(number),)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(seen) == 8
    assert all(asked == answered for asked, answered in seen.items())


def test_importing_needs_httpx_alone() -> None:
    """`import voxelq` loads nothing of the service, and neither numpy nor pydantic."""
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, voxelq; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "httpx" in loaded
    heavy = {"api", "client", "nibabel", "numpy", "pydantic", "redis", "rq", "shared", "torch"}
    assert heavy.isdisjoint(loaded)
    assert set(voxelq.__all__) <= set(dir(voxelq))
