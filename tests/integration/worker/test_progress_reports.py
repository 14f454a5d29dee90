"""Progress from a worker's lanes to the readers of a job."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from shared.jobs import Job, JobStatus, Stage
from shared.queue.job_queue import JobQueue
from shared.queue.watchdog import Watchdog
from shared.settings import Settings
from tests.support.fake_worker import ScriptedEngine
from tests.support.jobs import submission, wait_for
from worker.pipeline.outcomes import LeasedJob, Outcome
from worker.pipeline.progress import Step
from worker.queueing.lanes import WorkerLanes


class SteppingEngine(ScriptedEngine):
    """Reports each scan as half-way through the network, and continues when it may."""

    def __init__(self) -> None:
        self.may_go = threading.Event()

    def run(
        self, leased_jobs: Sequence[LeasedJob], worker_id: str, is_lost: Callable[[LeasedJob], bool]
    ) -> list[Outcome]:
        """Report progress, wait, and compute as scripted."""
        for number in range(1000):
            share = number / 999 / 2
            self.progress.put(Step(leased, Stage.INFERENCE, share) for leased in leased_jobs)
        self.may_go.wait(60)
        return super().run(leased_jobs, worker_id, is_lost)


@contextmanager
def serving(engine: SteppingEngine, settings: Settings) -> Iterator[None]:
    """Serve in a thread of this process."""
    watchdog = Watchdog("in-process")
    lanes = WorkerLanes(engine, settings, "in-process", watchdog, lambda _: None)
    lanes.start()
    lane = threading.Thread(target=lanes.run_lane)
    lane.start()
    try:
        yield
    finally:
        engine.may_go.set()
        lanes.stop_flag.request()
        lane.join()
        lanes.leave()
        watchdog.close()


async def half_way(queue: JobQueue, job_id: str) -> Job:
    """Return the job once its progress is one half."""
    async with asyncio.timeout(60):
        while (job := await queue.get(job_id)).progress != 0.5:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return job


async def test_a_worker_reports_what_its_lanes_note(queue: JobQueue, settings: Settings) -> None:
    """The jobs of a batch show how far they are, with few reports to Redis."""
    engine = SteppingEngine()
    ids = [(await queue.submit(submission())).job.id for _ in range(3)]
    together = settings.model_copy(update={"adaptive_batching": False})
    await queue.request_progress()
    before = await queue.offsets()
    with serving(engine, together):
        for job_id in ids:
            job = await half_way(queue, job_id)
            assert (job.status, job.stage) == (JobStatus.STARTED, Stage.INFERENCE)
        engine.may_go.set()
        jobs = await wait_for(queue, ids)
    events = (await queue.new_events(before, 1)).progress
    assert events[-1].progress == 0.5
    assert len(events) < 3 * 100  # of three thousand steps
    assert {(job.status, job.progress, job.stage) for job in jobs} == {
        (JobStatus.FINISHED, 1.0, None)
    }
