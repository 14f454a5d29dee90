"""How a worker serves: it draws, computes and settles batches, several on their way at once.

::

    lane 1   draw ▸ begin ▸ read ▸ COMPUTE ▸ write ▸ settle ▸ draw ▸ …
    lane 2             draw ▸ begin ▸ read ▸ … COMPUTE ▸ write ▸ settle ▸ …
    lane 3                       draw ▸ begin ▸ read ▸ …

One lane draws at a time, so batches form in the order of service; the engine says how many lanes
there are and lets as many of them compute as its device can bear. So the device finds the next
scan read while another is written, and memory holds one batch a lane however long the queue is.

A worker whose environment is in trouble gives its batches back uncharged and draws no more until
a check of its own goes well.
"""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from redis.exceptions import RedisError

from shared.queue.scripts import is_script_fault
from shared.queue.worker_metrics import added, batch_counts
from shared.settings import Settings
from shared.watchdog import Watchdog
from worker.metrics.utilization import UtilizationClock
from worker.pipeline.outcomes import Finished, LeasedJob, Outcome, Retry, Returned
from worker.pipeline.trouble import Pause, Trouble
from worker.queueing.active_batches import ActiveBatches, Batch, BatchCharge
from worker.queueing.connection import connect
from worker.queueing.drawing import Drawing
from worker.queueing.engine import Engine
from worker.queueing.heartbeat import Heartbeat
from worker.queueing.leases import Leases, WorkerFacts
from worker.queueing.progress_reporter import Reporter
from worker.queueing.unready_models import UnreadyModels

log = structlog.get_logger()

T = TypeVar("T")

#: An idle worker looks at the queue this often even if nobody wakes it (seconds).
IDLE_WAIT_S = 1.0
#: Longest pause between tries while Redis is away (seconds).
MAX_BACKOFF_S = 2.0
#: Between two looks for new models (seconds).
TEND_S = 1.0
#: Between two looks at the environment while all is well (seconds).
CHECK_S = 1.0
#: After a fault that may pass, before the same is tried again (seconds).
RETRY_PAUSE_S = 1.0
#: A worker that is asked to stop tries this long to settle what it has in hand (seconds).
LAST_TRIES_S = 10.0
#: A wait that a stop must end looks for one this often (seconds).
STOP_TICK_S = 0.1


class BatchService:
    """All lanes of one worker. ``on_model`` hears of every model that comes to be served."""

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        worker_id: str,
        watchdog: Watchdog,
        on_model: Callable[[str], None],
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._worker_id = worker_id
        self._watchdog = watchdog
        self._on_model = on_model
        self._pause = Pause()
        self._unready = UnreadyModels()
        self._connections = [connect(settings) for _ in range(4)]
        self._leases, beating, reporting, self._returning = (
            Leases(one, worker_id, settings) for one in self._connections
        )
        self._active_batches = ActiveBatches()
        self._lanes = UtilizationClock()
        self._heartbeat = Heartbeat(
            beating,
            self._facts(),
            interval_s=min(1.0, settings.lease_s / 4),
            counted=self._counted,
        )
        self._reporter = Reporter(reporting, engine.progress)
        self._draws = Drawing(self._leases, self._heartbeat, self._active_batches, settings)
        self._drawing = threading.Lock()
        self._stopping = False
        self._tend_at = self._check_at = self._rested_until = 0.0
        #: Whether the worker stopped by itself, so that a fresh process takes over.
        self.wants_restart = False

    def start(self) -> None:
        """Begin to be heard of."""
        self._heartbeat.start()
        self._reporter.start()

    def stop(self) -> None:
        """Have every lane end with the batch it has in hand."""
        # A flag, not an exception: one could strike between a draw and its lease's keeper.
        self._stopping = True

    @property
    def stopping(self) -> bool:
        """Whether the lanes are asked to end."""
        return self._stopping

    def vital_thread_lost(self) -> str | None:
        """Return the name of a thread without which no worker may serve, if it has ended."""
        dead = [one.name for one in (self._heartbeat, self._reporter) if not one.is_alive()]
        return dead[0] if dead else None

    def run_lane(self) -> None:
        """Serve one batch after another until stopped."""
        while not self._stopping:
            batch = self._next()
            if batch:
                self._compute(batch)

    def give_back_all(self) -> int:
        """Return every job that is held to the queue uncharged; return how many.

        Raises:
            RedisError: Redis does not answer; the leases run out by themselves.
        """
        jobs = self._heartbeat.held
        self._heartbeat.release(jobs)
        return self._returning.give_back(jobs) if jobs else 0

    def leave(self) -> None:
        """Be heard of no more; raises RedisError."""
        self._reporter.stop()
        self._heartbeat.stop()
        try:
            self._leases.sign_off()
        finally:
            for one in self._connections:
                one.close()

    def persist(self, action: Callable[[], T]) -> T:
        """Do ``action`` however long Redis is away: what is in hand must not be lost.

        Raises:
            RedisError: Redis stayed away until long after this worker was asked to stop, or the
                action can never go well.
        """
        pause_s, waited_s = 0.05, 0.0
        while True:
            try:
                return action()
            except RedisError as error:
                if is_script_fault(error) or (self._stopping and waited_s > LAST_TRIES_S):
                    raise
                waited_s += pause_s
                log.warning("redis_awaited", error=type(error).__name__)
                time.sleep(pause_s)
                pause_s = min(MAX_BACKOFF_S, pause_s * 2)

    def _next(self) -> Batch | None:
        """Draw the next batch, once it is this lane's turn; None when there is none."""
        with self._drawing:
            if self._stopping:
                return None
            self._refresh_models()
            if not self._may_draw():
                return None
            self._wait_until(self._rested_until)
            try:
                jobs = self._draws.gather(
                    self._engine.concurrency,
                    self._unready.refs,
                    lambda: not self._stopping,
                )
                if not jobs:
                    self._rest()
                    return None
            except RedisError as error:
                log.warning("queue_unreachable", error=type(error).__name__)
                time.sleep(MAX_BACKOFF_S / 4)
                return None
            if jobs[0].alone:
                self._active_batches.wait_until_empty()
            if self._stopping:
                self.persist(lambda: self._leases.give_back(jobs))
                self._heartbeat.release(jobs)
                return None
            batch = self._active_batches.enter(jobs)
            if jobs[0].alone:
                # The turn to draw is kept: nothing else begins until this one has ended.
                self._compute(batch)
                return None
            return batch

    def _refresh_models(self) -> None:
        """Let the engine look at the models, guarded as a batch is, every now and then."""
        if time.monotonic() < self._tend_at:
            return
        with self._watchdog.armed(self._settings.load_timeout_s):
            self._engine.refresh_models()
        self._tend_at = time.monotonic() + TEND_S

    def _may_draw(self) -> bool:
        """Tell whether the environment lets this worker serve; waits for a while if not."""
        paused = self._pause.reason is not None
        if paused:
            self._wait_until(time.monotonic() + self._pause.left_s)
            if self._stopping:
                return False
        elif time.monotonic() < self._check_at:
            return True
        trouble = self._engine.check(thorough=paused)
        self._check_at = time.monotonic() + CHECK_S
        if trouble is not None:
            self._meet(trouble)
            return False
        if paused:
            self._pause.end()
            self._heartbeat.show(self._facts())
            log.info("worker_resumed")
        return True

    def _meet(self, trouble: Trouble) -> None:
        """Draw nothing for a while, or not from one model, or stop for a fresh process."""
        if trouble.model is not None:
            if self._unready.hold(trouble.model):
                log.warning("model_held_back", model=trouble.model, reason=trouble.reason)
            return
        if self._pause.begin(trouble.reason):
            log.error("worker_paused", reason=trouble.reason, restart=trouble.restart)
        self._heartbeat.show(self._facts())
        if trouble.restart:
            self.wants_restart = True
            self.stop()

    def _wait_until(self, moment: float) -> None:
        """Wait until ``moment`` (monotonic seconds), or until the worker is asked to stop."""
        while not self._stopping and (left_s := moment - time.monotonic()) > 0:
            time.sleep(min(STOP_TICK_S, left_s))

    def _rest(self) -> None:
        if not self._active_batches.ids:
            self._engine.idle()
        self._leases.wait_for_work(IDLE_WAIT_S)

    def _compute(self, batch: Batch) -> None:
        """Begin, compute and settle one batch."""
        with self._lanes.busy():
            self._compute_and_settle(batch)

    def _compute_and_settle(self, batch: Batch) -> None:
        jobs = batch.jobs
        self._change_model(jobs[0].submission.model_ref)
        self._heartbeat.show(self._facts())
        begun = self.persist(lambda: self._leases.begin(jobs, self._facts()))
        outcomes: list[Outcome] = []
        if begun:
            with self._watchdog.armed(self._settings.job_timeout_s):
                outcomes = self._engine.run(begun, self._worker_id, self._heartbeat.is_lost)
        spent = self._active_batches.leave(batch)
        self._heartbeat.show(self._facts())
        if begun:
            self._settle(begun, outcomes, spent)
        self._heartbeat.release(jobs)

    def _change_model(self, model_ref: str) -> None:
        """Load another model before its jobs begin, so that none of them is charged for it."""
        if model_ref != self._engine.model:
            with self._watchdog.armed(self._settings.load_timeout_s):
                self._engine.prepare(model_ref)
        self._on_model(model_ref)

    def _settle(self, jobs: list[LeasedJob], outcomes: list[Outcome], spent: BatchCharge) -> None:
        model = jobs[0].submission.model_ref
        reports = [outcome.report for outcome in outcomes if isinstance(outcome, Finished)]
        # Before the jobs are back in the queue, so that no lane of this worker draws them again.
        for trouble in {one.trouble for one in outcomes if isinstance(one, Returned)}:
            self._meet(trouble)
        metrics = batch_counts(len(jobs), [report.timings_s for report in reports])
        settled = list(zip(jobs, outcomes, strict=True))
        dropped = self.persist(
            lambda: self._leases.settle(
                settled, self._facts(), batch_s=spent.cost_s, metrics=metrics
            )
        )
        for job in dropped:
            self._engine.discard(job)
        if reports:
            self._pause.forget()
            self._unready.forget(model)
        if len(reports) == len(jobs):
            self._draws.observe(model, len(jobs), spent)
        log.info(
            "batch settled",
            size=len(jobs),
            finished=len(reports),
            dropped=len(dropped),
            cost_s=round(spent.cost_s, 4),
        )
        if any(isinstance(outcome, Retry) and job not in dropped for job, outcome in settled):
            self._rested_until = time.monotonic() + RETRY_PAUSE_S

    def _facts(self) -> WorkerFacts:
        return WorkerFacts(
            self._worker_id,
            self._engine.device,
            self._engine.model,
            self._active_batches.ids,
            self._engine.arithmetic,
            self._engine.peak_memory_bytes,
            self._pause.reason,
        )

    def _counted(self) -> dict[str, float]:
        """Return what this worker counted since the last call."""
        lanes = self._lanes.take()
        seconds = {
            "worker_seconds_total": lanes.passed_s,
            "lane_seconds_total": lanes.passed_s * self._engine.lanes,
            "lane_busy_seconds_total": lanes.each_s,
        }
        return added([seconds, self._engine.counted()])
