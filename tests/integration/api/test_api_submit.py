"""Submitting scans: every framing that is accepted, and the job that results."""

import asyncio
import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from shared.jobs import Priority
from shared.queue.job_queue import JobQueue
from shared.settings import Settings
from shared.storage.store import ScanStore
from tests.conftest import Valkey
from tests.support.api_server import RAW, SCAN, ApiServer, assert_problem
from tests.support.scans import gz, nifti, voxels
from tests.support.scripted_worker import ScriptedWorker


async def test_a_form(client: httpx.AsyncClient, store: ScanStore, queue: JobQueue) -> None:
    """A multipart submit is a 202 with Location; the scan is stored byte for byte."""
    response = await client.post(
        "/jobs", files={"scan": ("doe.nii.gz", SCAN)}, data={"priority": "stat"}
    )
    assert response.status_code == 202
    body = response.json()
    assert response.headers["location"] == f"/jobs/{body['id']}"
    assert int(response.headers["retry-after"]) >= 1
    job = await queue.get(body["id"])
    assert job.submission.priority is Priority.STAT
    assert job.submission.sha256 == hashlib.sha256(SCAN).hexdigest()
    assert store.read(job.submission.scans["scan"]) == SCAN
    assert "doe" not in job.submission.model_dump_json()


@pytest.mark.parametrize(
    "content_type", ["application/octet-stream", "application/gzip", "application/x-gzip", None]
)
@pytest.mark.parametrize("content", [SCAN, nifti()])
async def test_raw_bodies(
    client: httpx.AsyncClient,
    store: ScanStore,
    queue: JobQueue,
    content_type: str | None,
    content: bytes,
) -> None:
    """Raw bytes are accepted, gzipped or not, under each of their content types."""
    headers = {"Content-Type": content_type} if content_type else {}
    response = await client.post("/jobs", content=content, headers=headers)
    assert response.status_code == 202
    job = await queue.get(response.json()["id"])
    assert store.read(job.submission.scans["scan"]) == content


@pytest.mark.parametrize("framing", ["raw", "form"])
async def test_the_decompressed_copy_is_kept_for_the_worker(
    client: httpx.AsyncClient, store: ScanStore, queue: JobQueue, framing: str
) -> None:
    """The first read gets the decompressed copy; later ones get the gzip as submitted."""
    if framing == "raw":
        response = await client.post("/jobs", content=SCAN, headers=RAW)
    else:
        response = await client.post("/jobs", files={"scan": SCAN})
    key = (await queue.get(response.json()["id"])).submission.scans["scan"]
    with store.open_scan(key) as file:
        assert file.read() == nifti()
    with store.open_scan(key) as file:
        assert file.read() == SCAN


async def test_a_scan_without_gzip_is_not_copied(
    client: httpx.AsyncClient, server: ApiServer
) -> None:
    """A scan without gzip is stored in one file."""
    await client.post("/jobs", content=nifti(), headers=RAW)
    assert len(server.lasting_files()) == 1


async def test_a_body_in_chunks_of_any_size(client: httpx.AsyncClient, store: ScanStore) -> None:
    """A body without a length, sent in tiny chunks, is the same scan."""

    async def pieces() -> Any:
        for start in range(0, len(SCAN), 37):
            yield SCAN[start : start + 37]

    response = await client.post("/jobs", content=pieces(), headers=RAW)
    assert response.status_code == 202
    assert b"".join(store.chunks(_key(response))) == SCAN


def _key(response: httpx.Response) -> str:
    return ScanStore.folder(response.json()["id"]) + "/scan.nii.gz"


async def test_a_large_scan_streams(client: httpx.AsyncClient, store: ScanStore) -> None:
    """A scan of many blocks arrives whole, by form and raw."""
    noise = np.random.default_rng(0).integers(0, 4000, (128, 128, 96)).astype("int16")
    content = nifti(noise)
    raw = await client.post("/jobs", content=content, headers=RAW)
    form = await client.post("/jobs", files={"scan": content})
    for response in (raw, form):
        assert response.status_code == 202
        assert store.read(_key(response).removesuffix(".gz")) == content


async def test_channels(
    client: httpx.AsyncClient, queue: JobQueue, store: ScanStore, two_channel_model: str
) -> None:
    """A model of two inputs takes a field for each; the form may name the model last."""
    flair = nifti(voxels() + 1)
    response = await client.post(
        "/jobs", files=[("flair", flair), ("t1", SCAN), ("model", (None, two_channel_model))]
    )
    assert response.status_code == 202
    job = await queue.get(response.json()["id"])
    assert list(job.submission.scans) == ["t1", "flair"]
    assert store.read(job.submission.scans["t1"]) == SCAN
    assert store.read(job.submission.scans["flair"]) == flair


async def test_scan_paths(
    settings: Settings, tmp_path: Path, queue: JobQueue, store: ScanStore, two_channel_model: str
) -> None:
    """A path under SCAN_ROOT is accepted; one that leaves it, by any trick, is a 403."""
    root = tmp_path / "scans"
    (root / "sub-01").mkdir(parents=True)
    (root / "sub-01" / "flair.nii.gz").write_bytes(SCAN)
    (tmp_path / "secret.nii.gz").write_bytes(SCAN)
    (root / "link.nii.gz").symlink_to(tmp_path / "secret.nii.gz")
    (root / "folder").symlink_to(tmp_path)
    (root / "inside.nii.gz").symlink_to(root / "sub-01" / "flair.nii.gz")
    os.mkfifo(root / "pipe")
    server = ApiServer(settings.model_copy(update={"scan_root": root}))
    server.start()
    try:
        async with httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client:
            for path in ("sub-01/flair.nii.gz", "./sub-01/../inside.nii.gz"):
                response = await client.post("/jobs", json={"scan_path": path, "priority": "bulk"})
                assert response.status_code == 202, response.text
                job = await queue.get(response.json()["id"])
                assert store.read(job.submission.scans["scan"]) == SCAN
                assert job.submission.priority is Priority.BULK
            paths = {"t1": "sub-01/flair.nii.gz", "flair": "inside.nii.gz"}
            both = await client.post("/jobs", json={"scan_path": paths, "model": two_channel_model})
            assert both.status_code == 202
            kept = len(server.stored_files())
            outside = str(tmp_path / "secret.nii.gz")
            for path in ("../secret.nii.gz", outside, "link.nii.gz", "folder/secret.nii.gz"):
                response = await client.post("/jobs", json={"scan_path": path})
                assert_problem(response, 403)
                assert "secret" not in response.text
            for bad, status in (
                ({"scan_path": "none.nii"}, 404),
                ({"scan_path": "sub-01"}, 422),
                ({"scan_path": "pipe"}, 422),
                ({"scan_path": "a\0b"}, 400),
                ({"scan_path": 7}, 400),
                ({"scan_path": {}}, 422),
                ({"scan_path": {"pet": "none.nii"}}, 400),
                ({}, 400),
                ([], 400),
                ({"scan_path": "x", "callback_url": "http://example.org"}, 400),
                ({"scan_path": "x", "priority": 1}, 400),
            ):
                assert_problem(await client.post("/jobs", json=bad), status)
            broken = await client.post(
                "/jobs", content=b"{", headers={"Content-Type": "application/json"}
            )
            assert_problem(broken, 400)
            assert len(server.stored_files()) == kept
    finally:
        server.stop()


async def test_no_scan_root(client: httpx.AsyncClient) -> None:
    """Without SCAN_ROOT every scan_path is a 403."""
    assert_problem(await client.post("/jobs", json={"scan_path": "x.nii"}), 403, "SCAN_ROOT")


async def test_idempotency(client: httpx.AsyncClient, server: ApiServer) -> None:
    """Same key and scan: the same job, stored once. Same key and another scan: a 422."""
    headers = RAW | {"Idempotency-Key": "visit-7"}
    first = await client.post("/jobs", content=SCAN, headers=headers)
    again = await client.post("/jobs", content=SCAN, headers=headers)
    assert again.status_code == first.status_code == 202
    assert again.json()["id"] == first.json()["id"]
    other = await client.post("/jobs", content=gz(nifti(voxels() + 1)), headers=headers)
    assert_problem(other, 422, "Idempotency-Key")
    assert len(server.lasting_files()) == 1


async def test_redis_away(tmp_path: Path, models_dir: Path) -> None:
    """With Redis away a submit is a 503 with Retry-After and nothing is kept; livez stays 200."""
    folder = tmp_path / "valkey"
    folder.mkdir()
    valkey = Valkey(folder)
    valkey.start()
    settings = Settings(
        redis_url=valkey.url,
        store_url=f"file://{tmp_path}/store",
        models_dir=models_dir,
        default_model="test-model",
    )
    server = ApiServer(settings)
    server.start()
    scripted_worker = ScriptedWorker(settings)
    try:
        async with httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client:
            assert (await client.post("/jobs", content=SCAN, headers=RAW)).status_code == 202
            kept = server.stored_files()
            valkey.kill()
            for method, path in (
                ("POST", "/jobs"),
                ("POST", "/predict"),
                ("GET", "/queue"),
                ("GET", "/readyz"),
                ("GET", "/jobs"),
            ):
                content = SCAN if method == "POST" else None
                response = await client.request(method, path, content=content)
                assert_problem(response, 503)
                assert int(response.headers["retry-after"]) >= 1
            assert (await client.get("/livez")).status_code == 200
            assert "voxelq_redis_up 0.0" in (await client.get("/metrics")).text
            valkey.start()
            await server.until(lambda: server.stored_files() == kept)
            waiting = asyncio.create_task(
                client.post("/predict?wait=60", content=SCAN, headers=RAW)
            )
            await server.until_blocked(1)
            scripted_worker.serve()
            assert (await waiting).json()["status"] == "finished"
    finally:
        server.stop()
        scripted_worker.close()
        valkey.kill()


async def test_traceparent(client: httpx.AsyncClient, queue: JobQueue) -> None:
    """A well-formed traceparent travels with the job, and a malformed one is ignored."""
    good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    for sent, kept in ((good, good), ("nonsense", None)):
        response = await client.post("/jobs", content=SCAN, headers=RAW | {"traceparent": sent})
        job = await queue.get(response.json()["id"])
        assert job.submission.traceparent == kept


async def test_curl(server: ApiServer, tmp_path: Path) -> None:
    """Curl's form of a file, with its Expect: 100-continue, is accepted."""
    path = tmp_path / "scan.nii.gz"
    noise = np.random.default_rng(0).integers(0, 4000, (96, 96, 96)).astype("int16")
    path.write_bytes(gz(nifti(noise)))
    run = await asyncio.to_thread(
        subprocess.run,
        ["curl", "-sS", "-F", f"scan=@{path}", f"{server.url}/jobs?priority=stat"],
        capture_output=True,
        check=True,
    )
    assert json.loads(run.stdout)["priority"] == "stat"
