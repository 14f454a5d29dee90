"""Jobs that RQ's own tools changed or left behind are found again, and counted correctly."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis
from rq import Queue
from rq.job import Job as RqJob
from rq.serializers import JSONSerializer

from shared.errors import InferenceFailed
from shared.jobs import JobStatus
from shared.queue import keys
from shared.queue.job_queue import JobQueue
from tests.conftest import Valkey
from tests.support.jobs import submission
from worker.pipeline.outcomes import Failed
from worker.queueing.leases import Leases, WorkerFacts

FACTS = WorkerFacts("worker-1", "cpu", "test-model@1.0.0")
QUEUE = "test-model@1.0.0:routine"
LIST = keys.RQ_QUEUE + QUEUE
INTERMEDIATE = LIST + keys.RQ_INTERMEDIATE


@pytest.fixture
def client(valkey: Valkey) -> Iterator[Redis]:
    """A client of this test's server."""
    with Redis.from_url(valkey.url) as opened:
        yield opened


def turn(client: Any, leases: Leases, *, later_s: float = 0) -> None:
    """Reap, as if all strays had been found ``later_s`` seconds earlier."""
    for member, score in client.zrange(keys.STRAYS, 0, -1, withscores=True):
        client.zadd(keys.STRAYS, {member: score - later_s})
    client.set(keys.REAPED_AT, time.time() - 1)
    leases.reap()


def rq_queue(client: Any) -> Queue:
    """Return the queue as RQ's own tools see it."""
    return Queue(QUEUE, connection=client, serializer=JSONSerializer)


async def test_a_job_left_in_the_intermediate_list_comes_back(
    queue: JobQueue, leases: Leases, client: Redis
) -> None:
    """A job that a stock worker took and never began is requeued after a minute, uncharged."""
    job_id = (await queue.submit(submission())).job.id
    client.lmove(LIST, INTERMEDIATE, "LEFT", "RIGHT")
    turn(client, leases)
    turn(client, leases, later_s=59)
    assert leases.draw(1).jobs == ()
    turn(client, leases, later_s=2)
    (leased,) = leases.draw(1).jobs
    assert (leased.id, leased.alone) == (job_id, False)
    assert client.zcard(keys.STRAYS) == 0
    turn(client, leases)
    assert client.zcard(keys.STRAYS) == 0  # what is leased is no stray


async def test_a_job_that_a_stock_worker_began_is_no_stray(
    queue: JobQueue, leases: Leases, client: Redis
) -> None:
    """A stray that a worker begins after all is no stray any more, and not queued twice."""
    job_id = (await queue.submit(submission())).job.id
    client.lmove(LIST, INTERMEDIATE, "LEFT", "RIGHT")
    turn(client, leases)
    client.lrem(INTERMEDIATE, 0, job_id)
    client.hset(keys.RQ_JOB + job_id, "status", "started")
    client.zadd(keys.RQ_WIP + QUEUE, {f"{job_id}:stock": time.time() + 60})
    client.zadd(keys.RQ_EXECUTIONS + job_id, {"stock": time.time() + 60})
    turn(client, leases, later_s=100)
    assert client.zcard(keys.STRAYS) == 0
    assert leases.draw(1).jobs == ()
    assert (await queue.get(job_id)).status is JobStatus.STARTED
    assert (await queue.state()).started == 1


async def test_a_job_that_vanished_from_its_queue_comes_back(
    queue: JobQueue, leases: Leases, client: Redis
) -> None:
    """A job that a stock worker of several queues took is in no list, and is found all the same."""
    job_id = (await queue.submit(submission())).job.id
    client.lpop(LIST)
    turn(client, leases)
    turn(client, leases, later_s=61)
    assert [leased.id for leased in leases.draw(1).jobs] == [job_id]


async def test_a_started_job_without_a_lease_is_lost(
    queue: JobQueue, leases: Leases, client: Redis
) -> None:
    """A started job whose lease was removed by hand counts as lost after a minute."""
    job_id = (await queue.submit(submission())).job.id
    leases.begin(leases.draw(1).jobs, FACTS)
    client.delete(keys.RQ_WIP + QUEUE)
    turn(client, leases)
    turn(client, leases, later_s=61)
    job = await queue.get(job_id)
    assert (job.status, job.losses) == (JobStatus.QUEUED, 1)


async def test_an_emptied_queue_leaves_no_count(
    queue: JobQueue, leases: Leases, client: Redis
) -> None:
    """After `rq empty` the deleted jobs are in no listing, count or position."""
    for _ in range(150):
        await queue.submit(submission())
    rq_queue(client).empty()
    for _ in range(20):
        turn(client, leases)
    state = await queue.state()
    assert (state.queued, state.waiting["routine"]) == (0, 0)
    assert client.zcard(keys.INDEX) == 0
    assert (await queue.submit(submission())).job.position == 0


async def test_a_deleted_job_is_skipped_by_the_draw(
    queue: JobQueue, leases: Leases, client: Redis
) -> None:
    """An id in the queue whose hash is gone is removed from the queue and all listings."""
    gone, there = [(await queue.submit(submission())).job.id for _ in range(2)]
    client.delete(keys.RQ_JOB + gone)
    assert [leased.id for leased in leases.draw(8).jobs] == [there]
    assert client.zrange(keys.INDEX, 0, -1) == [there.encode()]
    assert (await queue.state()).queued == 1


async def test_a_job_deleted_while_held_is_lost_to_its_worker(
    queue: JobQueue, leases: Leases, client: Redis
) -> None:
    """A job deleted while a worker holds it leaves neither a lease nor a hash behind."""
    drawn, held = [(await queue.submit(submission())).job.id for _ in range(2)]
    leased_jobs = leases.draw(2).jobs
    leases.begin(leased_jobs[1:], FACTS)
    client.delete(keys.RQ_JOB + drawn, keys.RQ_JOB + held)
    assert leases.begin(leased_jobs[:1], FACTS) == []
    assert leases.extend(leased_jobs[1:], FACTS) == list(leased_jobs[1:])
    problem = InferenceFailed("a fault").problem()
    settled = [(leased_jobs[1], Failed(problem))]
    assert leases.settle(settled, FACTS, batch_s=1, metrics={}) == list(leased_jobs[1:])
    assert client.exists(keys.RQ_JOB + drawn, keys.RQ_JOB + held) == 0
    assert client.zcard(keys.RQ_WIP + QUEUE) == 0
    turn(client, leases)
    assert (await queue.state()).queued == (await queue.state()).started == 0


async def test_a_job_that_rq_requeued_is_drawn(
    queue: JobQueue, leases: Leases, client: Redis
) -> None:
    """After `rq requeue` a failed job is drawn, begun and listed once."""
    job_id = (await queue.submit(submission())).job.id
    (leased,) = leases.begin(leases.draw(1).jobs, FACTS)
    problem = InferenceFailed("a fault").problem()
    leases.settle([(leased, Failed(problem))], FACTS, batch_s=1, metrics={})
    assert leases.draw(1).jobs == ()
    RqJob.fetch(job_id, connection=client, serializer=JSONSerializer).requeue()
    turn(client, leases)
    leases.begin(leases.draw(1).jobs, FACTS)
    for status in JobStatus:
        page = await queue.page(status, 9, None)
        assert [job.id for job in page.jobs] == ([job_id] if status == "started" else [])
    assert client.zcard(keys.ENDED) == 0


async def test_many_jobs_ended_by_stock_workers_are_all_seen(
    queue: JobQueue, leases: Leases, client: Redis
) -> None:
    """With many live jobs first in the listing, ended jobs are still listed as ended."""
    ids = [(await queue.submit(submission())).job.id for _ in range(250)]
    leases.begin(leases.draw(250).jobs, FACTS)
    client.hset(keys.RQ_JOB + ids[-1], "status", "finished")
    for _ in range(4):
        turn(client, leases)
    page = await queue.page(JobStatus.FINISHED, 9, None)
    assert [job.id for job in page.jobs] == ids[-1:]
