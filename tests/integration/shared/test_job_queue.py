"""`JobQueue` on a real server."""

import asyncio

import pytest
import redis

from shared.errors import IdempotencyConflict, JobNotFound, NotFinished, QueueFull
from shared.jobs import JobStatus, Priority
from shared.queue.events import EventBatch
from shared.queue.job_queue import JobQueue
from shared.settings import Settings
from tests.conftest import Valkey
from tests.support.fake_worker import report
from tests.support.jobs import submission
from worker.pipeline.outcomes import Finished
from worker.queueing.leases import Leases, WorkerFacts

FACTS = WorkerFacts("worker-1", "cpu", "test-model@1.0.0")


async def test_a_submit_is_one_round_trip(queue: JobQueue, valkey: Valkey) -> None:
    """After the first, a submit is one command from the client: the script, by its hash."""
    await queue.submit(submission())
    sent = []
    with redis.Redis.from_url(valkey.url) as watcher, redis.Redis.from_url(valkey.url) as client:
        client.ping()  # so that its connection is set up
        with watcher.monitor() as monitor:
            await queue.submit(submission())
            client.echo("end")
            for command in monitor.listen():
                if command["command"].startswith("ECHO"):
                    break
                if command["client_type"] != "lua":
                    sent.append(command["command"].split()[0])
    assert sent == ["EVALSHA"]


async def test_position_counts_jobs_of_the_same_and_higher_priority(queue: JobQueue) -> None:
    """A stat job is ahead of routine jobs that were submitted earlier."""
    routine = [submission() for _ in range(3)]
    for submitted in routine:
        await queue.submit(submitted)
    stat = await queue.submit(submission(priority=Priority.STAT))
    assert stat.job.position == 0
    positions = [(await queue.get(submitted.id)).position for submitted in routine]
    assert positions == [1, 2, 3]


async def test_the_limit_holds_under_a_burst(settings: Settings) -> None:
    """Of 200 submits at once against MAX_QUEUED=50, exactly 50 are accepted."""
    async with JobQueue(settings.model_copy(update={"max_queued": 50})) as queue:
        answers = await asyncio.gather(
            *(queue.submit(submission()) for _ in range(200)), return_exceptions=True
        )
        refused = [answer for answer in answers if isinstance(answer, QueueFull)]
        assert len(refused) == 150
        assert all(refusal.retry_after_s for refusal in refused)
        assert (await queue.state()).queued == 50


async def test_an_idempotency_key_makes_one_job(queue: JobQueue) -> None:
    """The same key and scan name the same job; the same key and another scan are refused."""
    first = await queue.submit(submission(idempotency_key="key"))
    again = await queue.submit(submission(idempotency_key="key"))
    assert (again.created, again.job.id) == (False, first.job.id)
    with pytest.raises(IdempotencyConflict):
        await queue.submit(submission(idempotency_key="key", sha256="1" * 64))
    assert (await queue.state()).queued == 1


async def test_a_burst_with_one_key_makes_one_job(queue: JobQueue) -> None:
    """Twenty submits at once with one key agree on one job."""
    receipts = await asyncio.gather(
        *(queue.submit(submission(idempotency_key="key")) for _ in range(20))
    )
    assert len({receipt.job.id for receipt in receipts}) == 1
    assert sum(receipt.created for receipt in receipts) == 1


async def test_a_repeated_submit_of_one_id_queues_once(queue: JobQueue) -> None:
    """A submit whose reply was lost may be sent again."""
    submitted = submission()
    await queue.submit(submitted)
    await queue.submit(submitted)
    assert (await queue.state()).queued == 1


async def test_listing_pages_through_all_jobs_newest_first(queue: JobQueue) -> None:
    """Pages follow each other without gap or overlap."""
    ids = [(await queue.submit(submission())).job.id for _ in range(7)]
    seen: list[str] = []
    cursor = None
    while True:
        page = await queue.page(None, 3, cursor)
        seen += [job.id for job in page.jobs]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == sorted(ids, reverse=True)


async def test_listing_by_status_follows_a_job(queue: JobQueue, leases: Leases) -> None:
    """A job is in the listing of its status, and in no other."""
    job_id = (await queue.submit(submission())).job.id

    async def states() -> list[JobStatus]:
        return [
            status
            for status in JobStatus
            if job_id in [job.id for job in (await queue.page(status, 9, None)).jobs]
        ]

    assert await states() == [JobStatus.QUEUED]
    leased_jobs = leases.draw(1).jobs
    leases.begin(leased_jobs, FACTS)
    assert await states() == [JobStatus.STARTED]
    outcome = Finished(report(leased_jobs[0], "worker-1", 1))
    leases.settle([(leased_jobs[0], outcome)], FACTS, batch_s=1, metrics={})
    assert await states() == [JobStatus.FINISHED]


async def test_a_queued_job_can_be_cancelled(queue: JobQueue, leases: Leases) -> None:
    """A job cancelled while queued is never drawn."""
    job_id = (await queue.submit(submission())).job.id
    assert await queue.cancel(job_id)
    assert (await queue.get(job_id)).status is JobStatus.CANCELED
    assert leases.draw(1).jobs == ()


async def test_a_drawn_job_can_be_cancelled(queue: JobQueue, leases: Leases) -> None:
    """A job cancelled between draw and begin is not begun."""
    job_id = (await queue.submit(submission())).job.id
    leased_jobs = leases.draw(1).jobs
    assert await queue.cancel(job_id)
    assert leases.begin(leased_jobs, FACTS) == []
    assert (await queue.get(job_id)).status is JobStatus.CANCELED


async def test_a_started_job_can_be_cancelled(queue: JobQueue, leases: Leases) -> None:
    """The outcome of a job cancelled while it computes is dropped."""
    job_id = (await queue.submit(submission())).job.id
    leased_jobs = leases.begin(leases.draw(1).jobs, FACTS)
    assert await queue.cancel(job_id)
    outcome = Finished(report(leased_jobs[0], "worker-1", 1))
    assert leases.settle([(leased_jobs[0], outcome)], FACTS, batch_s=1, metrics={}) == leased_jobs
    assert (await queue.get(job_id)).status is JobStatus.CANCELED


async def test_a_terminal_job_cannot_be_cancelled(queue: JobQueue) -> None:
    """Cancelling twice changes nothing the second time."""
    job_id = (await queue.submit(submission())).job.id
    assert await queue.cancel(job_id)
    assert not await queue.cancel(job_id)


async def test_only_a_terminal_job_can_be_purged(queue: JobQueue, valkey: Valkey) -> None:
    """A live job cannot be purged; a purged one leaves no key behind."""
    job_id = (await queue.submit(submission(idempotency_key="key"))).job.id
    with pytest.raises(NotFinished):
        await queue.purge(job_id)
    await queue.cancel(job_id)
    await queue.purge(job_id)
    for call in (queue.get(job_id), queue.cancel(job_id), queue.purge(job_id)):
        with pytest.raises(JobNotFound):
            await call
    with redis.Redis.from_url(valkey.url) as client:
        assert [key for key in client.scan_iter() if job_id.encode() in key] == []
        assert client.zcard("voxelq:jobs") == client.zcard("rq:canceled:test-model@1.0.0:routine")


async def test_events_have_every_change(queue: JobQueue, leases: Leases) -> None:
    """Reading from an earlier offset returns queued, started and finished."""
    before = await queue.offsets()
    await queue.submit(submission())
    leased_jobs = leases.begin(leases.draw(1).jobs, FACTS)
    outcome = Finished(report(leased_jobs[0], "worker-1", 1))
    leases.settle([(leased_jobs[0], outcome)], FACTS, batch_s=1, metrics={})
    new_events = await queue.new_events(before, 1)
    assert [event.status for event in new_events.events] == ["queued", "started", "finished"]


async def test_old_events_are_dropped(queue: JobQueue, valkey: Valkey) -> None:
    """The stream does not grow with the number of jobs: old events are deleted."""
    with redis.Redis.from_url(valkey.url) as client:
        for long_ago_ms in range(1, 1001):
            client.xadd("voxelq:events", {"job": "x", "status": "queued"}, id=f"{long_ago_ms}-1")
        await queue.submit(submission())
        assert client.xlen("voxelq:events") <= 100  # Redis deletes whole blocks only


async def test_waiting_for_events_ends_in_time(queue: JobQueue) -> None:
    """Reading a stream without new events returns nothing after the given time."""
    before = await queue.offsets()
    assert await queue.new_events(before, 0.05) == EventBatch([], [], before)


async def test_state_shows_workers_and_pace(queue: JobQueue, leases: Leases) -> None:
    """The state has the number of jobs, each worker's batch and the seconds per scan."""
    first = (await queue.submit(submission())).job.id
    await queue.submit(submission())
    leased_jobs = leases.draw(1).jobs
    busy = WorkerFacts("worker-1", "cpu", "test-model@1.0.0", (first,))
    leases.begin(leased_jobs, busy)
    state = await queue.state()
    assert (state.queued, state.started) == (1, 1)
    assert state.workers[0].batch == (first,)
    outcome = Finished(report(leased_jobs[0], "worker-1", 1))
    leases.settle([(leased_jobs[0], outcome)], FACTS, batch_s=2.0, metrics={"batches_total": 1})
    state = await queue.state()
    assert state.seconds_per_scan == pytest.approx(2.0)
    assert state.eta_s == pytest.approx(4.0)
    assert state.metrics["batches_total"] == 1
    assert state.metrics['jobs_total{status="finished"}'] == 1
