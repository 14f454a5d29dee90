"""The metrics page beside a worker that serves, over a real server and a real, small network."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis.exceptions import RedisError

from shared.errors import BadScan, InferenceFailed, StoreFull
from shared.queue import keys
from shared.settings import Settings
from tests.conftest import Valkey
from tests.integration.worker.test_lanes import serving
from tests.support.api_server import submit
from tests.support.bundles import write_tiny_bundle
from tests.support.scripted_worker import ScriptedWorker
from worker.metrics import peak_memory
from worker.metrics.counters import Counters
from worker.models.cache import open_model_cache
from worker.pipeline.outcomes import Failed, Retry
from worker.pipeline.pipeline import Pipeline
from worker.queueing.connection import connect
from worker.queueing.heartbeat import Heartbeat
from worker.queueing.leases import Leases, WorkerFacts

Page = dict[str, float]


@pytest.fixture
def settings(settings: Settings, models_dir: Path) -> Settings:
    """Settings whose default model is the tiny one, and whose worker beats often."""
    write_tiny_bundle(models_dir)
    changes = {"default_model": "tiny", "threads": 1, "lanes": 2, "lease_s": 0.5}
    return settings.model_copy(update=changes)


@pytest.fixture
def pipeline(settings: Settings) -> Iterator[Pipeline]:
    """A pipeline round the tiny network."""
    with connect(settings) as redis:
        opened = Pipeline(settings, open_model_cache(settings, redis, "in-process"))
        yield opened
        opened.close()


async def read(client: httpx.AsyncClient) -> Page:
    """Return the page as Prometheus reads it: values by ``name{label,label}``."""
    text = (await client.get("/metrics")).text
    return {
        sample.name + (f"{{{','.join(sample.labels.values())}}}" if sample.labels else ""): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def page_where(client: httpx.AsyncClient, holds: Callable[[Page], bool]) -> Page:
    """Return the page once ``holds`` is true of it."""
    async with asyncio.timeout(60):
        while not holds(page := await read(client)):  # noqa: ASYNC110 - the page must be polled
            await asyncio.sleep(0.05)
    return page


@asynccontextmanager
async def worker(pipeline: Pipeline, settings: Settings) -> AsyncIterator[None]:
    """Run a worker in a thread."""
    context = serving(pipeline, settings)
    await asyncio.to_thread(context.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


async def test_jobs_move_the_numbers(
    client: httpx.AsyncClient, pipeline: Pipeline, settings: Settings
) -> None:
    """Each served scan is counted in batches, sizes and stages, with the time that it took."""
    before = await read(client)
    assert before["voxelq_batches_total"] == 0
    ids = [await submit(client) for _ in range(6)]
    async with worker(pipeline, settings):
        for job_id in ids:
            answer = await client.get(f"/jobs/{job_id}?wait=60")
            assert answer.json()["status"] == "finished", answer.text
        page = await page_where(
            client,
            lambda page: (
                page.get("voxelq_stage_seconds_count{store}") == 6
                and page["voxelq_device_busy_seconds_total"] > 0
                and page["voxelq_lane_busy_seconds_total"] > 0
            ),
        )
        later = await page_where(
            client,
            lambda now: now["voxelq_worker_seconds_total"] > page["voxelq_worker_seconds_total"],
        )
    assert page["voxelq_jobs_total{finished}"] == 6
    assert page["voxelq_batch_size_sum"] == 6
    assert page["voxelq_batch_size_count"] == page["voxelq_batches_total"] >= 1
    for stage in ("queue", "load", "preprocess", "inference", "postprocess", "store"):
        assert page[f"voxelq_stage_seconds_count{{{stage}}}"] == 6
        assert page[f"voxelq_stage_seconds_sum{{{stage}}}"] > 0
    assert later["voxelq_lane_seconds_total"] == pytest.approx(
        2 * later["voxelq_worker_seconds_total"]
    )
    assert page["voxelq_device_busy_seconds_total"] <= page["voxelq_lane_busy_seconds_total"]
    assert page["voxelq_lane_busy_seconds_total"] <= page["voxelq_lane_seconds_total"]
    if peak_memory.peak_bytes("cpu") is not None:
        assert later["voxelq_worker_peak_memory_bytes{cpu,in-process}"] > 1 << 20
    assert (await read(client))["voxelq_workers"] == 0


async def test_the_queue_shows_how_a_worker_computes(
    client: httpx.AsyncClient, pipeline: Pipeline, settings: Settings
) -> None:
    """A worker's entry has its number format, its memory format and its peak memory."""
    async with worker(pipeline, settings):
        await page_where(client, lambda page: page["voxelq_workers"] == 1)
        (entry,) = (await client.get("/queue")).json()["workers"]
    assert entry["precision"] == pipeline.compute_mode.precision
    assert entry["memory_format"] == pipeline.compute_mode.memory_format
    assert entry["compiled"] is False
    assert entry["peak_memory_bytes"] == pipeline.peak_memory_bytes or entry["peak_memory_bytes"]


async def test_waiting_jobs_by_priority(
    client: httpx.AsyncClient, scripted_worker: ScriptedWorker
) -> None:
    """Jobs that no worker has drawn are counted by priority, with the age of the oldest."""
    for priority in ("bulk", "stat", "bulk"):
        await submit(client, priority=priority)
    page = await read(client)
    waiting = {name: page[f"voxelq_waiting_jobs{{{name}}}"] for name in ("stat", "routine", "bulk")}
    assert waiting == {"stat": 1, "routine": 0, "bulk": 2}
    assert page["voxelq_oldest_queued_seconds"] > 0
    scripted_worker.start(most=1)
    assert (await read(client))["voxelq_waiting_jobs{stat}"] == 0


async def test_failures_by_reason(
    client: httpx.AsyncClient, scripted_worker: ScriptedWorker
) -> None:
    """A failure is counted under its problem's type, a retried or cancelled job as such."""
    outcomes = iter(
        Failed(error.problem()) for error in (BadScan("1"), BadScan("2"), InferenceFailed("3"))
    )
    for _ in range(3):
        await submit(client)
        scripted_worker.settle(scripted_worker.start(), lambda _: next(outcomes))
    job_id = await submit(client)
    scripted_worker.settle(
        scripted_worker.start(), lambda _: Retry(StoreFull("as scripted").problem())
    )
    await client.delete(f"/jobs/{job_id}")
    page = await read(client)
    assert page["voxelq_job_failures_total{bad-scan}"] == 2
    assert page["voxelq_job_failures_total{inference-failed}"] == 1
    assert "voxelq_job_failures_total{store-full}" not in page
    assert page["voxelq_jobs_total{failed}"] == 3
    assert page["voxelq_jobs_total{canceled}"] == 1
    assert page["voxelq_jobs_retried_total"] == 1


async def test_lost_leases_are_counted(
    client: httpx.AsyncClient, scripted_worker: ScriptedWorker, settings: Settings
) -> None:
    """Each lease whose worker is silent counts as lost, and the last one as a failure too."""
    await submit(client)
    for attempt in range(settings.max_attempts):
        assert (await read(client))["voxelq_leases_lost_total"] == attempt
        (leased,) = scripted_worker.start()
        with connect(settings) as redis:
            redis.zadd(keys.RQ_WIP + leased.queue, {f"{leased.id}:{leased.execution}": 1}, xx=True)
            redis.delete(keys.REAPED_AT)
        scripted_worker.leases.reap()
    page = await read(client)
    assert page["voxelq_leases_lost_total"] == settings.max_attempts
    assert page["voxelq_job_failures_total{job-lost}"] == 1
    assert page["voxelq_jobs_total{failed}"] == 1


async def test_a_batch_settled_twice_counts_once(
    client: httpx.AsyncClient, scripted_worker: ScriptedWorker
) -> None:
    """A worker that settles a batch again after a lost answer counts nothing again."""
    await submit(client)
    leased_jobs = scripted_worker.start()
    for _ in range(2):
        scripted_worker.settle(leased_jobs, scripted_worker.finish)
    page = await read(client)
    assert page["voxelq_batches_total"] == 1
    assert page["voxelq_jobs_total{finished}"] == 1


def test_what_was_counted_waits_for_redis(tmp_path: Path, settings: Settings) -> None:
    """Counts of a worker while Redis was away are added once Redis is back, and only once."""
    server = Valkey(tmp_path / "own")
    server.start()
    settings = settings.model_copy(update={"redis_url": server.url})
    counts, facts = Counters(), WorkerFacts("one", "cpu", None)
    beating = connect(settings)
    heartbeat = Heartbeat(Leases(beating, "one", settings), facts, 1.0, counts.take)

    def stored() -> float:
        with connect(settings) as redis:
            return float(redis.hget(keys.METRICS, "oom_splits_total") or 0)

    counts.add({"oom_splits_total": 2})
    heartbeat.beat()
    assert stored() == 2
    server.kill()
    for _ in range(2):
        counts.add({"oom_splits_total": 3})
        with pytest.raises(RedisError):
            heartbeat.beat()
    server.start()
    kept = stored()  # the server's file may lack the last second
    heartbeat.beat()
    heartbeat.beat()
    assert stored() - kept == 6
    beating.close()
    server.kill()
