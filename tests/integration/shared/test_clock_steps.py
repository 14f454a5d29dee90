"""A step of Redis's clock, or a time without Redis, simulated by shifting all stored times."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from shared.jobs import JobStatus
from shared.queue import keys, scripts
from shared.queue.job_queue import JobQueue
from shared.settings import Settings
from tests.conftest import Valkey
from tests.support.jobs import submission
from worker.device.gpu_lease import Gpu, lease_gpu
from worker.pipeline.outcomes import LeasedJob
from worker.queueing.leases import Leases, WorkerFacts

FACTS = WorkerFacts("worker-1", "cpu", "test-model@1.0.0")
QUEUE = "test-model@1.0.0:routine"
WIP = keys.RQ_WIP + QUEUE
HOUR_S = 3600.0


@pytest.fixture
def client(valkey: Valkey) -> Iterator[Redis]:
    """A client of this test's server."""
    with Redis.from_url(valkey.url) as opened:
        yield opened


def step(client: Any, seconds: float) -> None:
    """Shift all stored times, as if Redis's clock had been stepped forward by so many seconds."""
    reaped_at: Any = client.get(keys.REAPED_AT)
    if reaped_at:
        client.set(keys.REAPED_AT, float(reaped_at) - seconds)
    for key in (WIP, keys.WORKERS, keys.BUSY, keys.GPU_LEASES):
        for member, score in client.zrange(key, 0, -1, withscores=True):
            client.zadd(key, {member: score - seconds})


async def begun(queue: JobQueue, leases: Leases) -> LeasedJob:
    """Return a job that a worker holds, after a turn of the reaper."""
    await queue.submit(submission())
    (leased,) = leases.begin(leases.draw(1).jobs, FACTS)
    leases.reap()
    return leased


def turn(client: Redis, leases: Leases) -> int:
    """Take the next turn of reaping, a second after the last."""
    client.set(keys.REAPED_AT, time.time() - 1)
    return leases.reap()


async def test_a_clock_stepped_forward_charges_no_job(
    queue: JobQueue, leases: Leases, client: Redis
) -> None:
    """Leases that ran out while they could not be extended are extended once, and no more."""
    leased = await begun(queue, leases)
    step(client, HOUR_S)
    assert leases.reap() == 0
    assert leases.extend([leased], FACTS) == []
    assert (await queue.get(leased.id)).status is JobStatus.STARTED
    step(client, HOUR_S)
    assert leases.reap() == 0
    step(client, HOUR_S)  # without a heartbeat of its worker in between
    assert leases.reap() == 1
    assert (await queue.get(leased.id)).losses == 1


async def test_a_lease_of_a_dead_worker_is_not_extended(
    queue: JobQueue, leases: Leases, client: Redis
) -> None:
    """A lease that a watchdog reported is reaped at once, even if no reaper ran for long."""
    leased = await begun(queue, leases)
    assert scripts.ABANDON.run(client, "worker-1") == 1
    client.set(keys.REAPED_AT, time.time() - HOUR_S)
    assert leases.reap() == 1
    assert (await queue.get(leased.id)).losses == 1


async def test_a_clock_stepped_back_keeps_no_dead_worker(
    queue: JobQueue, leases: Leases, client: Redis, settings: Settings
) -> None:
    """Leases and heartbeats that end too late are shortened to one period."""
    leased = await begun(queue, leases)
    step(client, -HOUR_S)
    leases.reap()  # its last turn is in the future, and does not delay this one
    latest = time.time() + settings.lease_s + 1
    for key in (WIP, keys.WORKERS):
        scores: Any = client.zrange(key, 0, -1, withscores=True)
        assert [score < latest for _, score in scores] == [True]
    step(client, settings.lease_s + 1)
    assert turn(client, leases) == 1
    assert (await queue.get(leased.id)).status is JobStatus.QUEUED
    assert (await queue.state()).workers == ()


async def test_a_stock_workers_lease_is_not_cut(leases: Leases, client: Redis) -> None:
    """A stock worker's lease, which has no length and no heartbeat, is not shortened."""
    client.sadd(keys.QUEUES, QUEUE)
    client.zadd(WIP, {"job:execution": time.time() + HOUR_S})
    client.hset(keys.RQ_EXECUTION + "job:execution", "worker_name", "stock")
    turn(client, leases)
    assert client.zscore(WIP, "job:execution") > time.time() + HOUR_S / 2  # type: ignore[operator]


def test_a_turn_in_the_future_delays_no_other(client: Redis, leases: Leases) -> None:
    """A turn is taken once per period, and again if the clock was stepped back."""
    assert scripts.TAKE_TURN.run(client, keys.RETENTION_TURN, 60) == 1
    assert scripts.TAKE_TURN.run(client, keys.RETENTION_TURN, 60) == 0
    client.set(keys.RETENTION_TURN, time.time() + HOUR_S)
    assert scripts.TAKE_TURN.run(client, keys.RETENTION_TURN, 60) == 1
    client.set(keys.RETENTION_TURN, time.time() - 61)
    assert scripts.TAKE_TURN.run(client, keys.RETENTION_TURN, 60) == 1


def test_a_gpu_lease_in_the_future_is_shortened(client: Redis) -> None:
    """A GPU lease that ends too late is shortened to one that starts now."""
    gpus = [Gpu(0, "GPU-a"), Gpu(1, "GPU-b")]
    assert lease_gpu(client, "worker-1", gpus, 10).index == 0
    step(client, -HOUR_S)
    assert lease_gpu(client, "worker-2", gpus, 10).index == 1
    assert client.zscore(keys.GPU_LEASES, "worker-1") < time.time() + 11  # type: ignore[operator]


async def test_events_are_bounded_in_number(leases: Leases, client: Redis) -> None:
    """With a clock that is stopped or was stepped back, the number of events is bounded."""
    with client.pipeline(transaction=False) as pipeline:
        for number in range(202_000):
            pipeline.xadd(keys.EVENTS, {"job": "x"}, id=f"9999999999999-{number + 1}")
            if number % 20_000 == 0:
                pipeline.execute()
        pipeline.execute()
    turn(client, leases)
    assert client.xlen(keys.EVENTS) <= 200_200
