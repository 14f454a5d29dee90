"""Several active batches in one worker."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from benchmarks.common.noop_worker import NoopEngine
from shared.jobs import JobStatus
from shared.queue.job_queue import JobQueue
from shared.queue.watchdog import Watchdog
from shared.settings import Settings
from tests.support.fake_worker import ScriptedEngine
from tests.support.jobs import submission, wait_for
from worker.pipeline.outcomes import LeasedJob, Outcome
from worker.queueing.engine import Engine
from worker.queueing.lanes import WorkerLanes

BATCH_OF_ONE = {"max_batch_size": 1}


class WatchedEngine(ScriptedEngine):
    """Records which scans ran as each began, and computes each for a while."""

    lanes = 3

    def __init__(self) -> None:
        self.concurrent_with: dict[str, set[str]] = {}
        self._running: set[str] = set()
        self._lock = threading.Lock()

    def run(
        self, leased_jobs: Sequence[LeasedJob], worker_id: str, is_lost: Callable[[LeasedJob], bool]
    ) -> list[Outcome]:
        """Compute as scripted."""
        ids = {leased.id for leased in leased_jobs}
        with self._lock:
            for other in self._running:
                self.concurrent_with[other] |= ids
            self.concurrent_with |= {job_id: set(self._running) for job_id in ids}
            self._running |= ids
        outcomes = super().run(leased_jobs, worker_id, is_lost)
        with self._lock:
            self._running -= ids
        return outcomes


@contextmanager
def serving(engine: Engine, settings: Settings) -> Iterator[None]:
    """Serve with all lanes of an engine, in threads of this process."""
    watchdog = Watchdog("in-process")
    lanes = WorkerLanes(engine, settings, "in-process", watchdog, lambda _: None)
    lanes.start()
    threads = [threading.Thread(target=lanes.run_lane) for _ in range(engine.lanes)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        lanes.stop_flag.request()
        for thread in threads:
            thread.join()
        lanes.leave()
        watchdog.close()


async def test_several_batches_are_active_at_once(queue: JobQueue, settings: Settings) -> None:
    """A worker of three lanes computes three batches at once, and not four."""
    engine = WatchedEngine()
    ids = [(await queue.submit(submission("slow:0.4"))).job.id for _ in range(6)]
    with serving(engine, settings.model_copy(update=BATCH_OF_ONE)):
        jobs = await wait_for(queue, ids)
    assert {job.status for job in jobs} == {JobStatus.FINISHED}
    assert max(len(others) for others in engine.concurrent_with.values()) >= 2
    assert len({job.report.batch.id for job in jobs if job.report}) == len(ids)


async def test_a_job_that_was_lost_runs_alone(queue: JobQueue, settings: Settings) -> None:
    """While a job that was lost once runs, no other batch runs in any lane."""
    engine = WatchedEngine()
    suspect = (await queue.submit(submission("slow:0.2"))).job.id
    await queue._redis.hset(f"rq:job:{suspect}", "voxelq_losses", 1)
    ids = [(await queue.submit(submission("slow:0.2"))).job.id for _ in range(5)]
    with serving(engine, settings.model_copy(update=BATCH_OF_ONE)):
        await wait_for(queue, [suspect, *ids])
    assert engine.concurrent_with[suspect] == set()
    assert any(engine.concurrent_with[job_id] for job_id in ids)


async def test_a_slow_batch_holds_up_no_other(queue: JobQueue, settings: Settings) -> None:
    """While one lane is busy for long, jobs queued later finish in another lane."""
    engine = WatchedEngine()
    slow = (await queue.submit(submission("slow:3"))).job.id
    with serving(engine, settings.model_copy(update=BATCH_OF_ONE)):
        await wait_for(queue, [slow], JobStatus.STARTED)
        quick = [(await queue.submit(submission("ok"))).job.id for _ in range(3)]
        await wait_for(queue, quick)
        assert (await queue.get(slow)).status is JobStatus.STARTED
        await wait_for(queue, [slow])


async def test_a_stop_leaves_the_rest_queued(queue: JobQueue, settings: Settings) -> None:
    """Lanes that are stopped finish the jobs that they have begun and give back the others."""
    engine = WatchedEngine()
    ids = [(await queue.submit(submission("slow:0.5"))).job.id for _ in range(8)]
    with serving(engine, settings.model_copy(update=BATCH_OF_ONE)):
        await wait_for(queue, ids[:3], JobStatus.STARTED)
        await asyncio.sleep(0)
        begun = time.monotonic()
    assert time.monotonic() - begun < 30
    statuses = [(await queue.get(job_id)).status for job_id in ids]
    assert statuses[:3] == [JobStatus.FINISHED] * 3
    assert statuses[-2:] == [JobStatus.QUEUED] * 2
    assert JobStatus.STARTED not in statuses


def test_a_lane_that_breaks_ends_its_worker(settings: Settings) -> None:
    """An error of a lane is no scan's fault: it is raised by the lane."""

    class Broken(NoopEngine):
        def refresh_models(self) -> None:
            raise RuntimeError("a bug")

    watchdog = Watchdog("in-process")
    lanes = WorkerLanes(Broken(), settings, "in-process", watchdog, lambda _: None)
    with pytest.raises(RuntimeError, match="a bug"):
        lanes.run_lane()
    watchdog.close()
