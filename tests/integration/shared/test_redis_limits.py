"""A Redis without memory, and a Redis that accepts no writes."""

from collections.abc import Iterator

import pytest
from redis import Redis

from shared.errors import StoreFull
from shared.jobs import JobStatus
from shared.queue import scripts
from shared.queue.job_queue import JobQueue
from tests.conftest import Valkey
from tests.support.fake_worker import report
from tests.support.jobs import submission
from worker.pipeline.outcomes import Finished
from worker.queueing.leases import Leases, WorkerFacts

FACTS = WorkerFacts("worker-1", "cpu", "test-model@1.0.0")


@pytest.fixture
def client(valkey: Valkey) -> Iterator[Redis]:
    """A client of this test's server, whose limits are removed at the end."""
    with Redis.from_url(valkey.url) as opened:
        yield opened
        opened.config_set("maxmemory", 0)
        opened.config_set("min-replicas-to-write", 0)


async def test_without_memory_jobs_end_and_none_comes(
    queue: JobQueue, leases: Leases, client: Redis
) -> None:
    """Over `maxmemory` a submit raises StoreFull; queued jobs are drawn, settled and purged."""
    ids = [(await queue.submit(submission())).job.id for _ in range(3)]
    (first,) = leases.begin(leases.draw(1).jobs, FACTS)
    client.config_set("maxmemory", 1)
    refused = submission()
    with pytest.raises(StoreFull, match="no memory left") as refusal:
        await queue.submit(refused)
    assert refusal.value.retry_after_s
    (second,) = leases.begin(leases.draw(1).jobs, FACTS)
    leases.extend([first, second], FACTS)
    await queue.request_progress()
    settled = [(leased, Finished(report(leased, "worker-1", 1))) for leased in (first, second)]
    assert leases.settle(settled, FACTS, batch_s=1, metrics={}) == []
    assert leases.give_back(leases.draw(1).jobs) == 1
    await queue.cancel(ids[2])
    leases.reap()
    states = [(await queue.get(job_id)).status for job_id in ids]
    assert states == [JobStatus.FINISHED, JobStatus.FINISHED, JobStatus.CANCELED]
    assert scripts.PURGE_ALL.run(client, *ids) == 3
    assert (await queue.page(None, 9, None)).jobs == []
    client.config_set("maxmemory", 0)
    assert (await queue.submit(refused)).created


async def test_without_writes_the_queue_can_be_read(queue: JobQueue, client: Redis) -> None:
    """While Redis refuses every write, jobs, pages, positions and the state can be read."""
    job_id = (await queue.submit(submission())).job.id
    gone = (await queue.submit(submission())).job.id
    client.delete(f"rq:job:{gone}")
    client.config_set("min-replicas-to-write", 1)
    assert (await queue.get(job_id)).position == 0
    assert [job.id for job in (await queue.page(None, 9, None)).jobs] == [job_id]
    assert (await queue.positions([job_id]))[0] is not None
    assert (await queue.state()).queued == 2
    assert scripts.EXPIRED.run(client, 0, 10, 10) == []
