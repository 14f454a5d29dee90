"""Models, health, queue, metrics, the OpenAPI description, and errors outside of any call."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from shared.errors import InferenceFailed
from shared.settings import Settings
from tests.support.api_server import RAW, SCAN, ApiServer, assert_problem
from tests.support.scripted_worker import ScriptedWorker
from voxelq.local.valkey import free_port
from worker.pipeline.outcomes import Failed

FULL = Path("/dev/full")


async def test_models(client: httpx.AsyncClient, two_channel_model: str) -> None:
    """Models are listed with their inputs, and shown by name or by name and version."""
    bundled, *listed = (await client.get("/models")).json()["models"]
    assert [model["name"] for model in (bundled, *listed)] == [
        "brain-tumor", "test-model", two_channel_model
    ]  # fmt: skip
    assert [model["default"] for model in (bundled, *listed)] == [False, True, False]
    assert listed[0] == {
        "name": "test-model",
        "version": "1.0.0",
        "default": True,
        "description": "a model for tests",
        "inputs": [{"name": "scan", "modality": "FLAIR"}],
        "labels": [{"value": 1, "name": "whole tumour"}],
        "license": "Apache-2.0",
        "intended_use": "tests",
    }
    assert (await client.get("/models/test-model")).json() == listed[0]
    assert (await client.get("/models/two-channels@2.0.0")).json() == listed[1]
    for name in ("other", "test-model@2.0.0", "@", "..%2f"):
        assert_problem(await client.get(f"/models/{name}"), 404)


async def test_health(client: httpx.AsyncClient, scripted_worker: ScriptedWorker) -> None:
    """The process is alive at once, and ready once a worker listens."""
    assert (await client.get("/livez")).status_code == 200
    waiting = await client.get("/readyz")
    assert_problem(waiting, 503, "worker")
    assert int(waiting.headers["retry-after"]) >= 1
    scripted_worker.sign_on()
    assert (await client.get("/readyz")).status_code == 200


async def test_queue(client: httpx.AsyncClient, scripted_worker: ScriptedWorker) -> None:
    """The queue shows how many jobs wait and run, and the batch of each worker."""
    empty = {
        "queued": 0,
        "started": 0,
        "workers": [],
        "seconds_per_scan": None,
        "eta_s": None,
        "scans_per_batch": None,
        "scans_per_hour": 0.0,
    }
    assert (await client.get("/queue")).json() == empty
    for _ in range(3):
        await client.post("/jobs", content=SCAN, headers=RAW)
    leased_jobs = scripted_worker.start(most=2)
    scripted_worker.sign_on(*leased_jobs)
    state = (await client.get("/queue")).json()
    assert set(state) == set(empty)
    assert (state["queued"], state["started"]) == (1, 2)
    (worker,) = state["workers"]
    assert worker["id"] == "stand-in"
    assert worker["model"] == "test-model@1.0.0"
    assert worker["device"] == "cpu"
    assert worker["batch"] == [leased.id for leased in leased_jobs]


async def test_the_queue_shows_its_pace(
    client: httpx.AsyncClient, scripted_worker: ScriptedWorker
) -> None:
    """The queue shows recent scans per batch, and scans per hour without failed ones."""
    for _ in range(4):
        await client.post("/jobs", content=SCAN, headers=RAW)
    scripted_worker.settle(scripted_worker.start(most=3))
    scripted_worker.settle(
        scripted_worker.start(), lambda _: Failed(InferenceFailed("as scripted").problem())
    )
    state = (await client.get("/queue")).json()
    assert state["scans_per_batch"] == pytest.approx(0.8 * 3 + 0.2 * 1)
    # three scans in the current window, which is between nine and ten minutes long
    assert 3 * 6 <= state["scans_per_hour"] <= 3 * 3600 / (9 * 60)


async def test_metrics(client: httpx.AsyncClient, scripted_worker: ScriptedWorker) -> None:
    """Metrics name routes and never paths, and carry the queue's and the workers' numbers."""
    job_id = (await client.post("/jobs", content=SCAN, headers=RAW)).json()["id"]
    scripted_worker.settle(scripted_worker.start())
    await client.get(f"/jobs/{job_id}")
    await client.get("/jane-doe")
    await client.request("JANE", "/livez")
    text = (await client.get("/metrics")).text
    assert 'http_requests_total{method="POST",route="/jobs",status="202"} 1.0' in text
    assert 'http_requests_total{method="GET",route="/jobs/{job_id}",status="200"} 1.0' in text
    assert 'http_requests_total{method="GET",route="unknown",status="404"} 1.0' in text
    assert 'request_duration_seconds_count{method="GET",route="/jobs/{job_id}"} 1.0' in text
    assert f"voxelq_upload_bytes_total {float(len(SCAN))}" in text
    assert 'voxelq_jobs{status="queued"} 0' in text
    assert "voxelq_batches_total 1.0" in text
    assert "voxelq_redis_up 1.0" in text
    assert job_id not in text
    assert "jane" not in text.lower()
    for line in text.splitlines():
        assert re.fullmatch(
            r"# (HELP|TYPE) \S+ .+|[a-z_]+(\{[^{}]*(\{job_id\}|\{name\})?[^{}]*\})? \S+", line
        )


async def test_unknown_paths_and_methods(client: httpx.AsyncClient) -> None:
    """Paths that do not exist, and methods a path does not take, answer in problem+json too."""
    for path in ("/nope", "/jobs/", "/jobs/x/y/z", "/docs/assets/none.js"):
        assert_problem(await client.get(path), 404)
    response = await client.put("/jobs")
    assert_problem(response, 405)
    assert response.headers["allow"] == "GET, POST"
    assert_problem(await client.post("/livez"), 405)


async def test_docs_come_from_this_machine(client: httpx.AsyncClient) -> None:
    """The page at /docs loads nothing from another site."""
    docs = await client.get("/docs")
    assert "https://" not in docs.text
    for asset in re.findall(r'(?:src|href)="([^"]+)"', docs.text):
        assert (await client.get(asset)).status_code == 200


async def test_the_description(client: httpx.AsyncClient) -> None:
    """OpenAPI describes every call with its problems, and each framing of a submit."""
    description = (await client.get("/openapi.json")).json()
    assert set(description["paths"]) == {
        "/jobs",
        "/predict",
        "/jobs/{job_id}",
        "/jobs/{job_id}/events",
        "/jobs/{job_id}/mask",
        "/jobs/{job_id}/scan",
        "/jobs/{job_id}/preview.png",
        "/models",
        "/models/{name}",
        "/sample.nii.gz",
        "/queue",
        "/livez",
        "/readyz",
        "/metrics",
    }
    for path in ("/jobs", "/predict"):
        submit = description["paths"][path]["post"]
        content = submit["requestBody"]["content"]
        assert set(content) == {
            "multipart/form-data",
            "application/octet-stream",
            "application/gzip",
            "application/json",
        }
        assert all(framing.keys() & {"example", "examples"} for framing in content.values())
        refusals = {"400", "403", "404", "409", "413", "415", "422", "429", "503", "507"}
        assert refusals <= set(submit["responses"])
        assert "application/problem+json" in submit["responses"]["413"]["content"]


def test_the_description_is_true(
    server: ApiServer, scripted_worker: ScriptedWorker, tmp_path: Path
) -> None:
    """Generated calls get only answers that the description has."""
    scripted_worker.sign_on()
    scripted_worker.serve()
    checks = (
        "not_a_server_error,status_code_conformance,content_type_conformance,"
        "response_schema_conformance,response_headers_conformance"
    )
    run = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            *("run", f"{server.url}/openapi.json", "--checks", checks, "--seed", "1"),
            *("--phases", "coverage,fuzzing", "--max-examples", "15"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout


async def test_redis_away_from_the_start(settings: Settings) -> None:
    """A service that starts before Redis is alive, not ready, and works once Redis is there."""
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    alone = ApiServer(settings.model_copy(update={"redis_url": nowhere}))
    alone.start()
    try:
        async with httpx.AsyncClient(base_url=alone.url, timeout=60, trust_env=False) as client:
            assert (await client.get("/livez")).status_code == 200
            assert (await client.get("/models")).status_code == 200
            assert_problem(await client.get("/readyz"), 503)
            assert_problem(await client.post("/jobs", content=SCAN, headers=RAW), 503)
            assert alone.stored_files() == []
    finally:
        alone.stop()


async def test_a_redis_that_hangs(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that accepts calls and never answers makes the service unready, not stuck."""
    monkeypatch.setattr("api.readiness.PROBE_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        nowhere = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        hung = ApiServer(settings.model_copy(update={"redis_url": nowhere}))
        hung.start()
        try:
            async with httpx.AsyncClient(base_url=hung.url, timeout=20, trust_env=False) as client:
                assert_problem(await client.get("/readyz"), 503, "too long")
                assert "voxelq_redis_up 0.0" in (await client.get("/metrics")).text
                assert (await client.get("/livez")).status_code == 200
        finally:
            hung.stop()


async def test_unexpected_errors(
    client: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """An unexpected error is a 500 problem without its message, which is not logged either."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("Jane Doe")

    monkeypatch.setattr("shared.bundles.catalog.ModelCatalog.bundles", broken)
    response = await client.get("/models")
    assert_problem(response, 500)
    out, err = capfd.readouterr()
    assert "unexpected_error" in out + err
    assert "Jane" not in response.text + out + err


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
async def test_a_full_store(
    client: httpx.AsyncClient, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full store is a 507, and nothing is kept."""
    store = server.server.config.app.state.services.store  # type: ignore[union-attr]
    path = store._path
    monkeypatch.setattr(store, "_path", lambda key: str(FULL) if key.endswith(".gz") else path(key))
    response = await client.post("/jobs", content=SCAN, headers=RAW)
    assert_problem(response, 507)
    assert "retry-after" in response.headers
    assert server.stored_files() == []
