"""The worker's side of the queue, on a real server."""

import time
from collections.abc import Collection, Mapping, Sequence

import pytest
import redis

from benchmarks.common.noop_worker import NoopEngine, build
from shared.errors import InferenceFailed
from shared.jobs import JobStatus, Priority
from shared.queue import keys
from shared.queue.job_queue import JobQueue
from shared.settings import Settings
from tests.conftest import Valkey
from tests.support.fake_worker import report
from tests.support.jobs import submission
from worker.pipeline.outcomes import Failed, Finished, LeasedJob, Retry
from worker.queueing.connection import connect
from worker.queueing.leases import NO_THRESHOLDS, Leases, WorkerFacts

MODEL = "test-model@1.0.0"
FACTS = WorkerFacts("worker-1", "cpu", "test-model@1.0.0")


def finished(leased: LeasedJob) -> tuple[LeasedJob, Finished]:
    """Return a job with a finished outcome."""
    return leased, Finished(report(leased, "worker-1", 1))


def expire(leases: Leases, valkey: Valkey, settings: Settings) -> None:
    """Let every lease run out, and reap."""
    with redis.Redis.from_url(valkey.url) as client:
        for key in client.scan_iter("rq:wip:*"):
            for member in client.zrange(key, 0, -1):
                client.zadd(key, {member: time.time() - 1})
        client.set(keys.REAPED_AT, time.time() - 1)
    leases.reap()


async def test_a_batch_is_of_one_model(queue: JobQueue, leases: Leases) -> None:
    """Jobs of two models never share a batch; the oldest job's model is drawn first."""
    for version in ("1.0.0", "2.0.0", "1.0.0"):
        await queue.submit(submission(version=version))
    assert [leased.submission.version for leased in leases.draw(8).jobs] == ["1.0.0", "1.0.0"]
    assert [leased.submission.version for leased in leases.draw(8).jobs] == ["2.0.0"]


@pytest.mark.parametrize(("spare", "sizes"), [(0, [4]), (1, [2, 1]), (3, [1, 1])])
async def test_spare_lanes_are_left_their_share(
    queue: JobQueue, leases: Leases, spare: int, sizes: list[int]
) -> None:
    """A lane takes no job that another one of the same worker could begin at once."""
    for _ in range(4):
        await queue.submit(submission())
    drawn = [len(leases.draw(8, thresholds={MODEL: [1, 1, 1, 1]}, spare=spare).jobs) for _ in sizes]
    assert drawn == sizes


async def test_a_drawn_job_is_in_the_intermediate_list(
    queue: JobQueue, leases: Leases, valkey: Valkey
) -> None:
    """Between draw and begin a job is in RQ's intermediate list and leased."""
    job_id = (await queue.submit(submission())).job.id
    leased_jobs = leases.draw(1).jobs
    with redis.Redis.from_url(valkey.url) as client:
        intermediate = f"rq:queue:{leased_jobs[0].queue}:intermediate"
        assert client.lrange(intermediate, 0, -1) == [job_id.encode()]
        assert client.zcard(f"rq:wip:{leased_jobs[0].queue}") == 1
        leases.begin(leased_jobs, FACTS)
        assert client.llen(intermediate) == 0


async def test_jobs_given_back_keep_their_place(queue: JobQueue, leases: Leases) -> None:
    """Jobs given back are drawn again first, in their order, uncharged."""
    ids = [(await queue.submit(submission())).job.id for _ in range(4)]
    assert leases.give_back(leases.draw(3).jobs) == 3
    again = leases.draw(4).jobs
    assert [leased.id for leased in again] == ids
    assert not any(leased.alone for leased in again)


async def test_begun_jobs_are_given_back_uncharged(queue: JobQueue, leases: Leases) -> None:
    """A planned stop returns begun jobs and those only drawn, in their order, uncharged."""
    ids = [(await queue.submit(submission())).job.id for _ in range(4)]
    begun = leases.begin(leases.draw(2).jobs, FACTS)
    assert leases.give_back([*begun, *leases.draw(1).jobs]) == 3
    assert leases.give_back(begun) == 0
    again = leases.draw(4).jobs
    assert [leased.id for leased in again] == ids
    assert not any(leased.alone for leased in again)
    jobs = [await queue.get(job_id) for job_id in ids]
    assert [(job.attempts, job.returns, job.losses) for job in jobs] == [
        (1, 1, 0), (1, 1, 0), (0, 0, 0), (0, 0, 0),
    ]  # fmt: skip


async def test_a_batch_is_sized_by_its_own_models_thresholds(
    queue: JobQueue, leases: Leases
) -> None:
    """The model drawn decides the size; one without thresholds is drawn by the general ones."""
    for version in ("1.0.0", "2.0.0", "3.0.0"):
        for _ in range(4):
            await queue.submit(submission(version=version))
    thresholds = {MODEL: [1, 1], "test-model@2.0.0": [1, 1, 1], "": [1]}
    drawn = [leases.draw(8, thresholds=thresholds).jobs for _ in range(6)]
    sizes = [(leased_jobs[0].submission.version, len(leased_jobs)) for leased_jobs in drawn]
    assert sizes[:2] == [("1.0.0", 2), ("1.0.0", 2)]
    assert sizes[2:4] == [("2.0.0", 3), ("2.0.0", 1)]
    assert sizes[4:] == [("3.0.0", 1), ("3.0.0", 1)]


async def test_a_lost_job_comes_back_and_runs_alone(
    queue: JobQueue, leases: Leases, valkey: Valkey, settings: Settings
) -> None:
    """Jobs that were begun and lost are queued again, with one more attempt, and drawn alone."""
    ids = [(await queue.submit(submission())).job.id for _ in range(2)]
    leases.begin(leases.draw(2).jobs, FACTS)
    expire(leases, valkey, settings)
    for _ in ids:
        (leased,) = leases.draw(8).jobs
        assert leased.alone
        leases.begin([leased], FACTS)
        leases.settle([finished(leased)], FACTS, batch_s=1, metrics={})
        job = await queue.get(leased.id)
        assert (job.status, job.attempts) == (JobStatus.FINISHED, 2)


async def test_a_job_lost_before_it_began_is_not_charged(
    queue: JobQueue, leases: Leases, valkey: Valkey, settings: Settings
) -> None:
    """A job drawn and never begun did not kill its worker, and need not run alone."""
    await queue.submit(submission())
    leases.draw(1)
    expire(leases, valkey, settings)
    (leased,) = leases.draw(1).jobs
    assert not leased.alone


async def test_a_job_lost_too_often_fails(
    queue: JobQueue, leases: Leases, valkey: Valkey, settings: Settings
) -> None:
    """After MAX_ATTEMPTS losses a job fails with a problem that says so."""
    job_id = (await queue.submit(submission())).job.id
    for _ in range(settings.max_attempts):
        leases.begin(leases.draw(1).jobs, FACTS)
        expire(leases, valkey, settings)
    job = await queue.get(job_id)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert job.error["type"].endswith("job-lost")


async def test_two_reapers_queue_a_lost_job_once(
    queue: JobQueue, leases: Leases, valkey: Valkey, settings: Settings
) -> None:
    """Reaping removes a lease, so reaping again finds nothing."""
    await queue.submit(submission())
    leases.begin(leases.draw(1).jobs, FACTS)
    expire(leases, valkey, settings)
    expire(leases, valkey, settings)
    assert len(leases.draw(8).jobs) == 1
    assert leases.draw(8).jobs == ()


async def test_a_job_that_ran_too_long_alone_fails_at_once(
    queue: JobQueue, leases: Leases, valkey: Valkey, settings: Settings
) -> None:
    """A job over its deadline gets one more try alone, and then fails as timed out."""
    hurried = Leases(
        leases._redis, "worker-1", settings.model_copy(update={"job_timeout_s": 0.001})
    )
    job_id = (await queue.submit(submission())).job.id
    for _ in range(2):
        assert (await queue.get(job_id)).status is JobStatus.QUEUED
        hurried.begin(hurried.draw(1).jobs, FACTS)
        expire(leases, valkey, settings)
    job = await queue.get(job_id)
    assert job.error is not None
    assert job.error["type"].endswith("job-timed-out")


async def test_a_lost_lease_cannot_settle(
    queue: JobQueue, leases: Leases, valkey: Valkey, settings: Settings
) -> None:
    """The outcome of a worker whose lease was reaped is dropped; the other worker's counts."""
    job_id = (await queue.submit(submission())).job.id
    frozen = leases.begin(leases.draw(1).jobs, FACTS)
    expire(leases, valkey, settings)
    other = leases.begin(leases.draw(1).jobs, FACTS)
    problem = InferenceFailed("too late").problem()
    assert leases.settle([(frozen[0], Failed(problem))], FACTS, batch_s=1, metrics={}) == frozen
    assert (await queue.get(job_id)).status is JobStatus.STARTED
    assert leases.settle([finished(other[0])], FACTS, batch_s=1, metrics={}) == []
    assert (await queue.get(job_id)).status is JobStatus.FINISHED


async def test_settling_again_changes_nothing(queue: JobQueue, leases: Leases) -> None:
    """A settle whose reply was lost may be repeated; its jobs do not count as dropped."""
    job_id = (await queue.submit(submission())).job.id
    leased_jobs = leases.begin(leases.draw(1).jobs, FACTS)
    for _ in range(2):
        assert leases.settle([finished(leased_jobs[0])], FACTS, batch_s=1, metrics={}) == []
    assert (await queue.get(job_id)).status is JobStatus.FINISHED


async def test_each_job_of_a_batch_has_its_own_outcome(queue: JobQueue, leases: Leases) -> None:
    """One settles as finished, one as failed and one is returned, in one transaction."""
    for _ in range(3):
        await queue.submit(submission())
    first, second, third = leases.begin(leases.draw(3).jobs, FACTS)
    problem = InferenceFailed("a fault").problem()
    leases.settle(
        [finished(first), (second, Failed(problem)), (third, Retry(problem))],
        FACTS,
        batch_s=1,
        metrics={},
    )
    statuses = [(await queue.get(leased.id)).status for leased in (first, second, third)]
    assert statuses == [JobStatus.FINISHED, JobStatus.FAILED, JobStatus.QUEUED]
    assert (await queue.get(second.id)).error == problem


async def test_extending_names_the_lost_leases(queue: JobQueue, leases: Leases) -> None:
    """A heartbeat names the jobs that were cancelled meanwhile."""
    for _ in range(2):
        await queue.submit(submission())
    leased_jobs = leases.begin(leases.draw(2).jobs, FACTS)
    await queue.cancel(leased_jobs[0].id)
    assert leases.extend(leased_jobs, FACTS) == [leased_jobs[0]]


async def test_idle_workers_get_their_share(queue: JobQueue, leases: Leases) -> None:
    """With two workers alive, one takes half of a short queue."""
    for worker in ("worker-1", "worker-2"):
        leases._redis.zadd("voxelq:workers", {worker: time.time() + 60})
    for _ in range(4):
        await queue.submit(submission())
    assert len(leases.draw(8, thresholds={MODEL: range(1, 9)}).jobs) == 2


async def test_an_aged_job_gets_every_fourth_place(settings: Settings) -> None:
    """Bulk jobs passed over for long get a quarter of the places, and no more."""
    aged = settings.model_copy(update={"aging_s": 0.001})
    async with JobQueue(aged) as queue:
        for priority in (Priority.BULK, Priority.STAT):
            for _ in range(8):
                await queue.submit(submission(priority=priority))
        with connect(aged) as client:
            leases = Leases(client, "worker-1", aged)
            order = [leases.draw(1).jobs[0].submission.priority.value for _ in range(8)]
    assert order == ["stat", "stat", "stat", "bulk"] * 2


async def test_suspended_workers_draw_nothing(
    queue: JobQueue, leases: Leases, valkey: Valkey
) -> None:
    """`rq suspend` holds the queue, and `rq resume` continues it."""
    await queue.submit(submission())
    with redis.Redis.from_url(valkey.url) as client:
        client.set("rq:suspended", 1)
        assert leases.draw(1).jobs == ()
        client.delete("rq:suspended")
    assert len(leases.draw(1).jobs) == 1


async def test_a_busy_worker_stays_in_rqs_list(leases: Leases, valkey: Valkey) -> None:
    """A heartbeat keeps RQ's record of the worker alive while no queue is empty."""
    with redis.Redis.from_url(valkey.url) as client:
        client.hset("rq:worker:worker-1", "state", "busy")
        client.expire("rq:worker:worker-1", 1)
        leases.extend([], FACTS)
        assert client.ttl("rq:worker:worker-1") > 60


async def test_a_fault_while_gathering_loses_nothing(
    queue: JobQueue, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When Redis fails between two draws of one batch, the jobs drawn before are computed."""
    job_id = (await queue.submit(submission())).job.id
    worker = build(
        NoopEngine(),
        settings.model_copy(update={"adaptive_batching": False, "max_latency_ms": 500}),
    )
    draw = Leases.draw

    def fail_when_topping_up(
        self: Leases,
        most: int,
        *,
        model: str | None = None,
        thresholds: Mapping[str, Sequence[int]] = NO_THRESHOLDS,
        spare: int = 0,
        skipped: Collection[str] = (),
    ) -> object:
        if model is not None:
            raise redis.ConnectionError
        return draw(self, most, model=model, thresholds=thresholds, spare=spare, skipped=skipped)

    monkeypatch.setattr(Leases, "draw", fail_when_topping_up)
    drawn = worker._lanes._drawer.gatherer.gather(1, frozenset(), lambda: True)
    assert [leased.id for leased in drawn] == [job_id]
    worker._watchdog.close()
