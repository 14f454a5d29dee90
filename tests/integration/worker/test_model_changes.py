"""Models that are added, changed and removed while a real worker serves: no job is lost."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import torch

from shared.jobs import Job, JobStatus
from shared.queue.job_queue import JobQueue
from shared.settings import Settings
from tests.support.api_server import RAW, assert_problem
from tests.support.bundles import drop, write_tiny_bundle
from tests.support.jobs import wait_for
from tests.support.scans import gz, nifti, voxels
from tests.support.worker_process import worker_process

SCAN = gz(nifti(voxels((24, 24, 24))))
MISFIT = "does not fit the network"


@pytest.fixture
def settings(settings: Settings, models_dir: Path) -> Settings:
    """Settings whose default model is the tiny bundle."""
    write_tiny_bundle(models_dir)
    return settings.model_copy(update={"default_model": "tiny", "max_batch_size": 2})


class Traffic:
    """A client that submits one scan after the other, and records the version in each response."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.versions: dict[str, str] = {}
        self._client = client

    async def submit(self, model: str | None = None) -> str:
        """Submit one scan; return the version in the response."""
        query = {"model": model} if model else {}
        answer = await self._client.post("/jobs", params=query, content=SCAN, headers=RAW)
        assert answer.status_code == 202, answer.text
        body = answer.json()
        self.versions[body["id"]] = body["model"]["version"]
        return str(body["model"]["version"])

    async def until_version(self, version: str) -> None:
        """Submit scans, without a version, until a response has this one."""
        async with asyncio.timeout(60):
            while await self.submit() != version:  # noqa: ASYNC110 - each check is a submit
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """Submit scans for as long as the block runs."""

        async def flow() -> None:
            while True:
                await self.submit()
                await asyncio.sleep(0.02)

        flowing = asyncio.create_task(flow())
        try:
            yield
        finally:
            flowing.cancel()
            await asyncio.gather(flowing, return_exceptions=True)

    async def assert_all_finish_as_answered(self, queue: JobQueue) -> None:
        """Check that every job finished, with the version of its response."""
        jobs = await wait_for(queue, self.versions)
        assert {(job.status, job.error and job.error["detail"]) for job in jobs} == {
            (JobStatus.FINISHED, None)
        }
        assert {job.id: job.submission.version for job in jobs} == self.versions


async def until_listed(client: httpx.AsyncClient, group: str, version: str) -> dict[str, Any]:
    """Return the entry of ``/models`` once the group has this version of the tiny model."""
    async with asyncio.timeout(60):
        while True:
            for entry in (await client.get("/models")).json()[group]:
                if (entry["name"], entry["version"]) == ("tiny", version):
                    return dict(entry)
            await asyncio.sleep(0.05)


def write_misfit(models: Path, version: str) -> Path:
    """Write a bundle with complete weights of another network than its metadata says."""
    folder = write_tiny_bundle(models, version)
    path = folder / "models" / "model.pt"
    state = torch.load(path, weights_only=True)
    torch.save({f"{name}.other": tensor for name, tensor in state.items()}, path)
    return folder


async def test_a_new_version_is_served_under_load(
    client: httpx.AsyncClient,
    queue: JobQueue,
    settings: Settings,
    models_dir: Path,
    tmp_path: Path,
) -> None:
    """A version added under load is used for new jobs; each job runs with its own version."""
    staged = write_tiny_bundle(tmp_path / "staged", "1.1.0")
    traffic = Traffic(client)
    with worker_process(settings, tmp_path / "log"):
        for _ in range(6):
            await traffic.submit()
        await wait_for(queue, list(traffic.versions)[:1])
        async with traffic.flowing():
            drop(staged, models_dir)
            await until_listed(client, "models", "1.1.0")
        for _ in range(6):
            await traffic.submit()
        await traffic.submit("tiny@1.0.0")
        await traffic.assert_all_finish_as_answered(queue)
        with redis.Redis.from_url(settings.redis_url) as raw:
            (worker,) = raw.smembers("rq:workers")
            listed = raw.hget(worker.decode(), "queues")
    answered = list(traffic.versions.values())
    assert set(answered[:6]) == {"1.0.0"}
    assert answered[:-1] == sorted(answered[:-1])
    assert answered[-7:] == ["1.1.0"] * 6 + ["1.0.0"]
    assert b"tiny@1.1.0:routine" in listed


async def test_a_broken_version_stops_no_job_and_is_served_once_repaired(
    client: httpx.AsyncClient,
    queue: JobQueue,
    settings: Settings,
    models_dir: Path,
    tmp_path: Path,
) -> None:
    """A version that does not load is reported and gets no job; once repaired it is used."""
    staged = write_misfit(tmp_path / "staged", "1.1.0")
    traffic = Traffic(client)
    with worker_process(settings, tmp_path / "log") as process:
        await traffic.submit()
        await wait_for(queue, traffic.versions)
        async with traffic.flowing():
            folder = drop(staged, models_dir)
            broken = await until_listed(client, "broken", "1.1.0")
        assert MISFIT in broken["reason"]
        assert_problem(await client.get("/models/tiny@1.1.0"), 404, MISFIT)
        refused = await client.post("/jobs?model=tiny@1.1.0", content=SCAN, headers=RAW)
        assert_problem(refused, 404, MISFIT)
        assert (await client.get("/models/tiny")).json()["version"] == "1.0.0"
        await traffic.assert_all_finish_as_answered(queue)
        assert set(traffic.versions.values()) == {"1.0.0"}

        good = write_tiny_bundle(tmp_path / "mended", "1.1.0")
        shutil.copy(good / "models" / "model.pt", folder / "models" / "model.pt")
        await traffic.until_version("1.1.0")
        await traffic.assert_all_finish_as_answered(queue)
        listed = (await client.get("/models")).json()["broken"]
        assert "tiny" not in [entry["name"] for entry in listed]
        assert process.poll() is None


async def test_a_job_keeps_its_version_while_that_lasts(
    client: httpx.AsyncClient,
    queue: JobQueue,
    settings: Settings,
    models_dir: Path,
    tmp_path: Path,
) -> None:
    """A queued job runs with its own version; without that folder it fails with a reason."""
    traffic = Traffic(client)
    write_tiny_bundle(models_dir, "0.9.0")
    await traffic.submit("tiny@0.9.0")
    await traffic.submit()
    drop(write_tiny_bundle(tmp_path / "staged", "1.1.0"), models_dir)
    await traffic.submit()
    assert list(traffic.versions.values()) == ["0.9.0", "1.0.0", "1.1.0"]
    shutil.rmtree(models_dir / "tiny" / "0.9.0")
    with worker_process(settings, tmp_path / "log"):
        gone, *others = await wait_for(queue, traffic.versions)
    assert [job.status for job in others] == [JobStatus.FINISHED] * 2
    assert [job.submission.version for job in others] == ["1.0.0", "1.1.0"]
    assert gone.status is JobStatus.FAILED
    assert _words(gone).startswith("tiny@0.9.0 is no longer on this worker's disk")


async def test_a_job_for_a_version_that_does_not_load_fails_alone(
    client: httpx.AsyncClient,
    queue: JobQueue,
    settings: Settings,
    models_dir: Path,
    tmp_path: Path,
) -> None:
    """Without a status from a worker, a job may get a broken version: it fails, others continue."""
    write_misfit(models_dir, "1.1.0")
    traffic = Traffic(client)
    await traffic.submit("tiny@1.1.0")
    await traffic.submit("tiny@1.0.0")
    with worker_process(settings, tmp_path / "log") as process:
        failed, finished = await wait_for(queue, traffic.versions)
        assert (failed.status, finished.status) == (JobStatus.FAILED, JobStatus.FINISHED)
        assert MISFIT in _words(failed)
        assert process.poll() is None
        await traffic.until_version("1.0.0")
    log = (tmp_path / "log").read_text()
    assert "model_load_failed" in log
    assert "Traceback" not in log


def _words(job: Job) -> str:
    assert job.error is not None
    return str(job.error["detail"])
