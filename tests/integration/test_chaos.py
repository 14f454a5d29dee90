"""No job is lost if processes die, with real processes and a real server."""

import asyncio
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from shared.errors import QueueFull
from shared.jobs import Job, JobStatus
from shared.queue.job_queue import JobQueue
from shared.settings import Settings
from tests.conftest import Valkey
from tests.support.jobs import Workers, submission, wait_for


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings with short leases, so that a dead worker is detected soon."""
    return settings.model_copy(update={"lease_s": 1.0, "max_batch_size": 8})


async def submit_all(queue: JobQueue, scans: list[str]) -> list[str]:
    """Submit one job for each scan and return their ids."""
    return [(await queue.submit(submission(scan))).job.id for scan in scans]


def outcomes(valkey: Valkey, job: Job) -> int:
    """Return how many results RQ holds of a job."""
    with redis.Redis.from_url(valkey.url) as client:
        return int(client.xlen(f"rq:results:{job.id}"))


async def test_no_job_is_lost_when_workers_are_killed(
    queue: JobQueue, valkey: Valkey, workers: Workers
) -> None:
    """100 jobs all finish, once each, while a random worker is killed every second."""
    running = [workers.start() for _ in range(3)]
    ids = await submit_all(queue, ["slow:0.08"] * 100)
    waiting = asyncio.create_task(wait_for(queue, ids, limit_s=120))
    kills = 0
    while not waiting.done() and kills < 5:
        await asyncio.sleep(1)
        victim = random.choice(running)
        victim.kill()
        running.remove(victim)
        running.append(workers.start())
        kills += 1
    jobs = await waiting
    assert kills >= 2
    assert {job.status for job in jobs} == {JobStatus.FINISHED}
    assert {outcomes(valkey, job) for job in jobs} == {1}


async def test_a_scan_that_kills_its_worker_fails_alone(
    queue: JobQueue, settings: Settings, workers: Workers
) -> None:
    """Of eight jobs in one batch, the one that kills every worker fails, and only it."""
    ids = await submit_all(queue, ["ok"] * 3 + ["kill"] + ["ok"] * 4)
    waiting = asyncio.create_task(wait_for(queue, ids))
    while not waiting.done():
        if all(process.poll() is not None for process in workers.processes):
            workers.start()  # as the supervisor of a stack would
        await asyncio.sleep(0.05)
    jobs = await waiting
    failed = [job for job in jobs if job.status is JobStatus.FAILED]
    assert [job.submission.scans["scan"] for job in failed] == ["kill"]
    assert failed[0].attempts == settings.max_attempts
    assert failed[0].error is not None
    assert failed[0].error["type"].endswith("job-lost")


async def test_the_death_of_a_killed_worker_is_reported_at_once(
    queue: JobQueue, settings: Settings, valkey: Valkey
) -> None:
    """Even with leases of an hour, the jobs of a killed worker finish soon."""
    fleet = Workers(settings.model_copy(update={"lease_s": 3600.0, "adaptive_batching": False}))
    try:
        ids = await submit_all(queue, ["slow:0.5"] * 4)
        first = fleet.start()
        await wait_for(queue, ids, JobStatus.STARTED)
        first.kill()
        fleet.start()
        jobs = await wait_for(queue, ids)
    finally:
        fleet.kill_all()
    assert {job.status for job in jobs} == {JobStatus.FINISHED}
    assert {job.attempts for job in jobs} == {2}


async def test_a_worker_that_crashes_loses_its_jobs_at_once(
    queue: JobQueue, settings: Settings
) -> None:
    """A worker exits after an error of its own, and its job is tried by another one."""
    fleet = Workers(settings.model_copy(update={"lease_s": 3600.0}))
    try:
        (job_id,) = await submit_all(queue, ["crash"])
        for attempt in range(settings.max_attempts):
            assert await asyncio.to_thread(fleet.start().wait) == 1, attempt
        fleet.start()
        (job,) = await wait_for(queue, [job_id])
    finally:
        fleet.kill_all()
    assert (job.status, job.attempts) == (JobStatus.FAILED, settings.max_attempts)


async def test_a_frozen_worker_cannot_add_a_second_outcome(
    queue: JobQueue, valkey: Valkey, workers: Workers
) -> None:
    """A worker stopped past its lease and woken again leaves one outcome for each job."""
    ids = await submit_all(queue, ["slow:0.5"] * 2)
    frozen = workers.start()
    await wait_for(queue, ids, JobStatus.STARTED)
    os.kill(frozen.pid, signal.SIGSTOP)
    workers.start()
    first = await wait_for(queue, ids)
    os.kill(frozen.pid, signal.SIGCONT)
    await asyncio.sleep(1.5)
    second = await wait_for(queue, ids)
    assert frozen.poll() is None
    assert {job.status for job in second} == {JobStatus.FINISHED}
    assert [job.report for job in second] == [job.report for job in first]
    assert {outcomes(valkey, job) for job in second} == {1}


async def test_a_hung_batch_gets_its_worker_killed(
    queue: JobQueue, settings: Settings, valkey: Valkey
) -> None:
    """The worker of a forward pass that never returns is killed; the other job finishes."""
    fleet = Workers(settings.model_copy(update={"job_timeout_s": 1.0}))
    ids = await submit_all(queue, ["hang", "ok"])
    try:
        waiting = asyncio.create_task(wait_for(queue, ids))
        while not waiting.done():
            if all(process.poll() is not None for process in fleet.processes):
                fleet.start()
            await asyncio.sleep(0.05)
        hung, neighbour = await waiting
    finally:
        fleet.kill_all()
    assert neighbour.status is JobStatus.FINISHED
    assert hung.status is JobStatus.FAILED
    assert hung.error is not None
    assert hung.error["type"].endswith("job-timed-out")
    assert -signal.SIGKILL in [process.returncode for process in fleet.processes]


async def test_sigterm_finishes_the_active_batch(queue: JobQueue, workers: Workers) -> None:
    """On SIGTERM a worker finishes what it began, leaves the rest queued, and exits with 0."""
    ids = await submit_all(queue, ["slow:0.3"] * 12)
    process = workers.start()
    await wait_for(queue, ids[:8], JobStatus.STARTED)
    process.terminate()
    assert await asyncio.to_thread(process.wait) == 0
    statuses = [(await queue.get(job_id)).status for job_id in ids]
    assert statuses == [JobStatus.FINISHED] * 8 + [JobStatus.QUEUED] * 4
    assert (await queue.state()).workers == ()


async def test_a_job_can_be_cancelled_while_it_computes(queue: JobQueue, workers: Workers) -> None:
    """A job cancelled while it computes stays cancelled; the others of its batch finish."""
    ids = await submit_all(queue, ["slow:0.3"] * 3)
    workers.start()
    await wait_for(queue, ids, JobStatus.STARTED)
    assert await queue.cancel(ids[1])
    jobs = await wait_for(queue, ids)
    assert [job.status.value for job in jobs] == ["finished", "canceled", "finished"]


async def test_a_transient_fault_ends_after_the_last_attempt(
    queue: JobQueue, settings: Settings, workers: Workers
) -> None:
    """A job that meets a transient fault in each attempt fails after MAX_ATTEMPTS attempts."""
    workers.start()
    (job,) = await wait_for(queue, await submit_all(queue, ["retry"]))
    assert (job.status, job.attempts) == (JobStatus.FAILED, settings.max_attempts)
    assert job.error is not None
    assert job.error["type"].endswith("inference-failed")


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A server of its own, which a test may kill."""
    server = Valkey(tmp_path)
    server.start()
    yield server
    server.kill()


async def test_nothing_accepted_is_lost_when_redis_dies(
    own_valkey: Valkey, settings: Settings
) -> None:
    """If Redis is killed while jobs are queued and computed, all finish after its restart."""
    settings = settings.model_copy(update={"redis_url": own_valkey.url})
    workers = Workers(settings)
    try:
        async with JobQueue(settings) as queue:
            workers.start()
            ids = await submit_all(queue, ["slow:0.05"] * 40)
            await wait_for(queue, ids[:8])
            own_valkey.kill()
            await asyncio.sleep(1)
            own_valkey.start()
            jobs = await wait_for(queue, ids)
        assert {job.status for job in jobs} == {JobStatus.FINISHED}
        assert {outcomes(own_valkey, job) for job in jobs} == {1}
    finally:
        workers.kill_all()


async def test_a_burst_against_a_small_queue_loses_nothing(
    settings: Settings, workers: Workers
) -> None:
    """Every submit to a small queue is either refused or finishes."""
    async with JobQueue(settings.model_copy(update={"max_queued": 20})) as queue:
        workers.start()
        answers = await asyncio.gather(
            *(queue.submit(submission("slow:0.01")) for _ in range(120)), return_exceptions=True
        )
        accepted = [answer.job.id for answer in answers if not isinstance(answer, BaseException)]
        assert all(
            isinstance(answer, QueueFull) for answer in answers if isinstance(answer, BaseException)
        )
        assert len(accepted) >= 20
        jobs = await wait_for(queue, accepted)
    assert {job.status for job in jobs} == {JobStatus.FINISHED}
