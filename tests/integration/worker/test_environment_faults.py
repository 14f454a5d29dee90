"""A worker in trouble with its store or device draws nothing until the trouble has passed."""

import asyncio
import signal
import threading
from collections.abc import Callable, Sequence

import pytest

from shared.errors import StoreUnavailable
from shared.jobs import Job, JobStatus
from shared.queue.job_queue import JobQueue
from shared.queue.state import WorkerInfo
from shared.queue.watchdog import Watchdog
from shared.settings import Settings
from tests.integration.worker.test_lanes import serving
from tests.support.fake_worker import ScriptedEngine
from tests.support.jobs import Workers, submission, wait_for
from worker.pipeline.outcomes import LeasedJob, Outcome, Returned
from worker.pipeline.trouble import Trouble
from worker.queueing import pause
from worker.queueing.lanes import WorkerLanes

AWAY = Trouble("The store is away.")
PROBLEM = StoreUnavailable(AWAY.reason).problem()


class TroubledEngine(ScriptedEngine):
    """Returns every batch and fails every check while it is in trouble."""

    def __init__(self, trouble: Trouble | None = None) -> None:
        self.trouble = trouble
        self.runs = 0

    def run(
        self, leased_jobs: Sequence[LeasedJob], worker_id: str, is_lost: Callable[[LeasedJob], bool]
    ) -> list[Outcome]:
        """Compute as scripted, or return all."""
        self.runs += 1
        if self.trouble:
            return [Returned(PROBLEM, self.trouble) for _ in leased_jobs]
        return super().run(leased_jobs, worker_id, is_lost)

    def check(self, *, thorough: bool) -> Trouble | None:
        """Return the trouble, if the check is thorough."""
        return self.trouble if thorough else None


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a worker check again ten times a second."""
    monkeypatch.setattr(pause, "FIRST_PAUSE_S", 0.1)
    monkeypatch.setattr(pause, "LONGEST_PAUSE_S", 0.1)


async def submit_all(queue: JobQueue, scans: Sequence[str]) -> list[str]:
    """Submit one job for each scan and return their ids."""
    return [(await queue.submit(submission(scan))).job.id for scan in scans]


async def until_paused(queue: JobQueue) -> WorkerInfo:
    """Return the first worker that is paused."""
    async with asyncio.timeout(60):
        while True:
            for worker in (await queue.state()).workers:
                if worker.paused:
                    return worker
            await asyncio.sleep(0.02)


async def test_a_worker_in_trouble_charges_no_job_and_says_why(
    queue: JobQueue, settings: Settings
) -> None:
    """While the store is away no job fails or is drawn; once it is back all finish."""
    engine = TroubledEngine(AWAY)
    ids = await submit_all(queue, ["ok"] * 6)
    with serving(engine, settings):
        assert (await until_paused(queue)).paused == AWAY.reason
        await asyncio.sleep(1)
        runs = engine.runs
        assert runs <= 2
        jobs = [await queue.get(job_id) for job_id in ids]
        assert {job.status for job in jobs} == {JobStatus.QUEUED}
        engine.trouble = None
        jobs = await wait_for(queue, ids)
        assert {worker.paused for worker in (await queue.state()).workers} == {None}
    assert {(job.status, job.losses) for job in jobs} == {(JobStatus.FINISHED, 0)}


async def test_trouble_with_one_model_leaves_the_others_alone(
    queue: JobQueue, settings: Settings
) -> None:
    """Jobs of a model that is not ready wait, uncharged; those of others finish meanwhile."""

    class HalfReady(TroubledEngine):
        def run(
            self,
            leased_jobs: Sequence[LeasedJob],
            worker_id: str,
            is_lost: Callable[[LeasedJob], bool],
        ) -> list[Outcome]:
            model = leased_jobs[0].submission.model_ref
            if self.trouble and model == self.trouble.model:
                return [Returned(PROBLEM, self.trouble) for _ in leased_jobs]
            return ScriptedEngine.run(self, leased_jobs, worker_id, is_lost)

    engine = HalfReady(Trouble("There is no memory for it.", model="test-model@2.0.0"))
    waiting = [(await queue.submit(submission(version="2.0.0"))).job.id for _ in range(2)]
    ready = await submit_all(queue, ["slow:0.2"] * 6)
    with serving(engine, settings):
        jobs = await wait_for(queue, ready)
        assert {job.status for job in jobs} == {JobStatus.FINISHED}
        held = [await queue.get(job_id) for job_id in waiting]
        assert {job.losses for job in held} == {0}
        assert not any(job.status.terminal for job in held)
        assert {worker.paused for worker in (await queue.state()).workers} == {None}
        engine.trouble = None
        jobs = await wait_for(queue, waiting)
    assert {(job.status, job.losses) for job in jobs} == {(JobStatus.FINISHED, 0)}


async def test_a_dead_device_ends_its_worker_and_charges_no_job(
    queue: JobQueue, settings: Settings
) -> None:
    """A worker that needs a new process stops by itself, with its jobs in the queue."""
    engine = TroubledEngine(Trouble("The network no longer runs.", restart=True))
    watchdog = Watchdog("in-process")
    lanes = WorkerLanes(engine, settings, "in-process", watchdog, lambda _: None)
    (job_id,) = await submit_all(queue, ["ok"])
    lanes.start()
    lane = threading.Thread(target=lanes.run_lane)
    lane.start()
    await asyncio.to_thread(lane.join)
    lanes.leave()
    watchdog.close()
    assert lanes.wants_restart
    job = await queue.get(job_id)
    assert (job.status, job.losses, job.returns) == (JobStatus.QUEUED, 0, 1)


async def test_a_job_that_is_returned_for_ever_is_charged_in_the_end(
    queue: JobQueue, settings: Settings
) -> None:
    """After fifty returns at no cost each further one is a loss: no job is returned for ever."""
    job_id = (await queue.submit(submission())).job.id
    await queue._redis.hset(f"rq:job:{job_id}", mapping={"voxelq_returns": 50})
    engine = TroubledEngine(AWAY)
    engine.check = lambda *, thorough: None  # type: ignore[method-assign]
    with serving(engine, settings):
        (job,) = await wait_for(queue, [job_id])
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert job.error["type"].endswith("store-unavailable")
    assert (job.losses, job.returns) == (settings.max_attempts, 50)


async def test_a_planned_stop_charges_no_job(queue: JobQueue, settings: Settings) -> None:
    """Jobs that a worker cannot finish in time after SIGTERM go back uncharged; it exits with 0."""
    hurried = Workers(settings.model_copy(update={"drain_s": 0.5, "lease_s": 3600.0}))
    try:
        ids = await submit_all(queue, ["slow:60"])
        process = hurried.start()
        await wait_for(queue, ids, JobStatus.STARTED)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait) == 0
        (job,) = await wait_for(queue, ids, JobStatus.QUEUED)
    finally:
        hurried.kill_all()
    assert job_facts(job) == (1, 0, 1)
    assert (await queue.state()).workers == ()


async def test_a_worker_that_draws_its_own_lapsed_job_again_keeps_it(
    queue: JobQueue, settings: Settings
) -> None:
    """Leases are held by execution: releasing the lost one does not end the new one."""
    job_id = (await queue.submit(submission())).job.id
    watchdog = Watchdog("in-process")
    lanes = WorkerLanes(ScriptedEngine(), settings, "in-process", watchdog, lambda _: None)
    (lost,) = lanes._leases.draw(1).jobs
    lanes._heartbeat.hold([lost])
    await queue._redis.zrem(f"rq:wip:{lost.queue}", f"{job_id}:{lost.execution}")
    lanes._heartbeat.beat()
    await queue._redis.lpush(f"rq:queue:{lost.queue}", job_id)
    await queue._redis.zadd("voxelq:pending:routine", {job_id: 1})
    (again,) = lanes._leases.draw(1).jobs
    lanes._heartbeat.hold([again])
    lanes._heartbeat.release([lost])
    assert lanes._heartbeat.held == [again]
    assert not lanes._heartbeat.is_lost(again)
    lanes._heartbeat.beat()
    assert not lanes._heartbeat.is_lost(again)
    watchdog.close()
    for connection in lanes._connections:
        connection.close()


def job_facts(job: Job) -> tuple[int, int, int]:
    """Return how often a job was begun, charged, and returned uncharged."""
    return job.attempts, job.losses, job.returns
