"""The scripts of retention, and the set of terminal jobs by the time of their end."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from redis import Redis

from shared.queue import keys, scripts
from shared.queue.job_queue import JobQueue
from shared.queue.rq_jobs import rq_stamp
from tests.conftest import Valkey
from tests.support.jobs import submission

DAY_S = 86_400.0
MANY = 1_000_000


@pytest.fixture
def client(valkey: Valkey) -> Iterator[Redis]:
    """A client of this test's server."""
    with Redis.from_url(valkey.url) as opened:
        yield opened


async def canceled(queue: JobQueue, count: int) -> list[str]:
    """Return the ids of jobs that were submitted and cancelled, in this order."""
    ids = [(await queue.submit(submission())).job.id for _ in range(count)]
    for job_id in ids:
        await queue.cancel(job_id)
    return ids


def expired(client: Redis, retention_s: float, max_kept: int = MANY, limit: int = 100) -> list[str]:
    """Return the ids of jobs that retention may purge."""
    return [job_id.decode() for job_id in scripts.EXPIRED.run(client, retention_s, max_kept, limit)]


async def test_jobs_expire_by_the_time_of_their_end(queue: JobQueue, client: Redis) -> None:
    """A job expires when its end is long enough ago, the oldest first, and a live one never."""
    ids = await canceled(queue, 3)
    await queue.submit(submission())
    assert expired(client, DAY_S) == []
    client.zincrby(keys.ENDED, -2 * DAY_S, ids[2])
    client.zincrby(keys.ENDED, -3 * DAY_S, ids[1])
    assert expired(client, DAY_S) == [ids[1], ids[2]]
    assert expired(client, DAY_S, limit=1) == [ids[1]]


async def test_the_oldest_expire_beyond_the_number_kept(queue: JobQueue, client: Redis) -> None:
    """Terminal jobs are bounded in number as well as in age."""
    ids = await canceled(queue, 4)
    assert expired(client, DAY_S, max_kept=3) == ids[:1]
    assert expired(client, DAY_S, max_kept=0) == ids


async def test_a_job_that_rq_queued_again_does_not_expire(queue: JobQueue, client: Redis) -> None:
    """A terminal job that RQ's own tools queued again does not expire, and blocks no other."""
    first, second = await canceled(queue, 2)
    client.hset(keys.RQ_JOB + first, "status", "queued")
    assert expired(client, 0, max_kept=0, limit=1) == [second]
    assert scripts.PURGE_ALL.run(client, first, second) == 1
    assert scripts.INDEX_ENDED.run(client, 10) == 0
    assert client.zscore(keys.ENDED, first) is None


async def test_a_purge_of_many_leaves_nothing(queue: JobQueue, client: Redis) -> None:
    """Purged jobs are in no listing any more, and neither are ids without a job."""
    ids = await canceled(queue, 3)
    live = (await queue.submit(submission())).job.id
    client.delete(keys.RQ_JOB + ids[0])
    client.zadd(keys.PENDING + "routine", {ids[0]: 1})
    assert scripts.PURGE_ALL.run(client, *ids, live) == 3
    left = {
        key.decode()
        for key in client.scan_iter()
        for job_id in ids
        if client.type(key) == b"zset" and client.zscore(key, job_id) is not None
    }
    assert left == set()
    assert [job.id for job in (await queue.page(None, 9, None)).jobs] == [live]


async def test_jobs_of_an_older_version_are_added(queue: JobQueue, client: Redis) -> None:
    """Terminal jobs that are missing in the set are added with the time of their end."""
    ids = await canceled(queue, 5)
    ended = datetime(2024, 2, 29, 23, 59, 58, 250_000, UTC)
    for days, job_id in enumerate(ids):
        client.hset(keys.RQ_JOB + job_id, "ended_at", rq_stamp(ended + timedelta(days=days)))
    client.hset(keys.RQ_JOB + ids[4], "ended_at", "no time")
    client.delete(keys.ENDED)
    added = [scripts.INDEX_ENDED.run(client, 2) for _ in range(4)]
    assert added == [2, 2, 1, 0]
    for days, job_id in enumerate(ids[:4]):
        assert client.zscore(keys.ENDED, job_id) == ended.timestamp() + days * DAY_S
    assert expired(client, DAY_S) == ids[:4]


async def test_no_job_ends_in_the_future(queue: JobQueue, client: Redis) -> None:
    """After the clock was stepped back, jobs are not kept longer by the length of the step."""
    (job_id,) = await canceled(queue, 1)
    client.zincrby(keys.ENDED, 100 * DAY_S, job_id)
    scripts.INDEX_ENDED.run(client, 10)
    assert expired(client, -1) == [job_id]
