"""How a worker forms its batches, on a real server."""

import signal
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from benchmarks.common.noop_worker import MODEL, DrainEngine, build
from shared.batching.policy import batch_size
from shared.queue import keys
from shared.queue.job_queue import JobQueue
from shared.queue.scripts import ABANDON
from shared.settings import Settings
from tests.support.jobs import submission
from worker.pipeline.outcomes import LeasedJob, Outcome
from worker.queueing.leases import Leases, WorkerFacts


class TimedEngine(DrainEngine):
    """Takes ``pass_s`` for each batch and ``scan_s`` for each of its scans; notes the sizes."""

    def __init__(self, pass_s: float, scan_s: float) -> None:
        super().__init__()
        self._pass_s, self._scan_s = pass_s, scan_s
        self.sizes: list[int] = []

    def run(
        self, leased_jobs: Sequence[LeasedJob], worker_id: str, is_lost: Callable[[LeasedJob], bool]
    ) -> list[Outcome]:
        """Sleep as long as such a batch takes."""
        time.sleep(self._pass_s + self._scan_s * len(leased_jobs))
        self.sizes.append(len(leased_jobs))
        return super().run(leased_jobs, worker_id, is_lost)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Restore the signal handlers that a worker replaces."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


async def serve(queue: JobQueue, settings: Settings, engine: TimedEngine, jobs: int) -> list[int]:
    """Queue ``jobs`` at once, serve them all by one worker, return the sizes of its batches."""
    name, version = MODEL.split("@")
    for _ in range(jobs):
        await queue.submit(submission(model=name, version=version))
    build(engine, settings.model_copy(update={"max_batch_size": 8})).work()
    assert sum(engine.sizes) == jobs
    return engine.sizes


async def test_batches_grow_if_passes_are_expensive(queue: JobQueue, settings: Settings) -> None:
    """A worker whose passes cost the same for any number of scans fills its batches."""
    sizes = await serve(queue, settings, TimedEngine(pass_s=0.1, scan_s=0), 48)
    assert sizes[-3:-1] == [8, 8]


async def test_scans_run_one_by_one_if_batches_save_nothing(
    queue: JobQueue, settings: Settings
) -> None:
    """A worker whose batches cost as much as their scans alone stops forming them."""
    sizes = await serve(queue, settings, TimedEngine(pass_s=0, scan_s=0.03), 30)
    assert sizes[-6:] == [1] * 6


async def test_a_worker_that_does_not_adapt_fills_its_batches(
    queue: JobQueue, settings: Settings
) -> None:
    """Without adaptive batching the cost of a batch does not count."""
    fixed = settings.model_copy(update={"adaptive_batching": False})
    sizes = await serve(queue, fixed, TimedEngine(pass_s=0, scan_s=0.002), 24)
    assert sizes == [8, 8, 8]


def show(leases: Leases, worker: str, *held: str | None) -> None:
    """Publish a worker with these jobs, or with none."""
    batch = tuple(job for job in held if job)
    Leases(leases._redis, worker, leases._settings).extend(
        [], WorkerFacts(worker, "cpu", MODEL, batch)
    )


@pytest.mark.parametrize(
    ("queued", "busy", "workers", "thresholds"),
    [
        (1, 0, 1, [1, 2, 3]),
        (5, 0, 1, [1, 2, 3, 4]),
        (5, 0, 1, [1, 4, 6]),
        (5, 0, 1, [1]),
        (6, 0, 3, [1, 2, 3, 4]),
        (6, 1, 3, [1, 2, 3, 4]),
        (6, 3, 3, [1, 2, 3, 4]),
        (6, 3, 3, [1, 2, 7]),
        (7, 0, 2, [1, 1, 1, 1, 1, 1]),
    ],
)
async def test_the_script_draws_as_many_as_the_policy_says(
    queue: JobQueue, leases: Leases, queued: int, busy: int, workers: int, thresholds: list[int]
) -> None:
    """A draw takes as many jobs as the policy chooses for the queue as it is at that moment."""
    for number in range(workers):
        show(leases, f"worker-{number}", "a job" if number >= workers - busy else None)
    for _ in range(queued):
        await queue.submit(submission())
    idle = max(1, workers - busy)
    draw = leases.draw(8, thresholds={"test-model@1.0.0": thresholds})
    assert len(draw.jobs) == batch_size(thresholds, queued, idle=idle)
    assert draw.traffic is not None
    assert draw.traffic.left == queued - len(draw.jobs)
    assert draw.traffic.workers == workers
    assert draw.traffic.idle == idle


async def test_a_worker_without_a_job_is_idle(queue: JobQueue, leases: Leases) -> None:
    """Another worker is one busy worker for any number of jobs; the one that draws is idle."""

    def idle() -> int:
        traffic = leases.draw(1).traffic
        assert traffic is not None
        return traffic.idle

    for number in range(1, 5):
        show(leases, f"worker-{number}")
    assert idle() == 4
    show(leases, "worker-2", "one", "two", "three")
    show(leases, "worker-3", "four")
    assert idle() == 2
    show(leases, "worker-1", "five")
    assert idle() == 2
    ABANDON.run(leases._redis, "worker-2")
    show(leases, "worker-3")
    assert idle() == 3
    leases._redis.zadd(keys.WORKERS, {"worker-4": 1})
    show(leases, "worker-3", "six")
    leases._redis.zadd(keys.BUSY, {"worker-3": 1})
    leases._redis.zadd(keys.WORKERS, {"worker-3": 1})
    assert idle() == 1


async def test_a_draw_counts_the_jobs_that_were_ever_queued(
    queue: JobQueue, leases: Leases
) -> None:
    """Each job counts once, whether it is queued, was drawn, or was given back."""
    for queued in range(1, 4):
        await queue.submit(submission())
        draw = leases.draw(1)
        assert draw.traffic is not None
        assert draw.traffic.ever_queued == queued
        assert len(draw.traffic.ages_s) == len(draw.jobs) == 1
        assert 0 <= draw.traffic.ages_s[0] < 60
