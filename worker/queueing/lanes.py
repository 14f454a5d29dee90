"""How a worker serves: its lanes draw, compute and settle batches, several at the same time.

::

    lane 1   draw ▸ begin ▸ read ▸ COMPUTE ▸ write ▸ settle ▸ draw ▸ …
    lane 2             draw ▸ begin ▸ read ▸ … COMPUTE ▸ write ▸ settle ▸ …
    lane 3                       draw ▸ begin ▸ read ▸ …

One lane draws at a time, so batches are formed in the order of service. The engine says how many
lanes there are, and lets as many of them compute at once as its device can. So the next scan is
read while another is written, and memory holds one batch a lane however long the queue is.
"""

import threading
from collections.abc import Callable

import structlog

from shared.queue.watchdog import Watchdog
from shared.queue.worker_metrics import batch_counts, sum_counts
from shared.settings import Settings
from worker.metrics.utilization import UtilizationClock
from worker.pipeline.outcomes import Finished, LeasedJob, Outcome, Retry, Returned
from worker.queueing.active_batches import ActiveBatches, Batch, BatchCharge
from worker.queueing.connection import connect
from worker.queueing.drawing import BatchDrawer
from worker.queueing.engine import Engine
from worker.queueing.heartbeat import Heartbeat
from worker.queueing.leases import Leases, WorkerFacts
from worker.queueing.pausing import Pausing
from worker.queueing.progress_reporter import ProgressReporter
from worker.queueing.redis_retry import retry_until_answered
from worker.queueing.stop_flag import StopFlag

log = structlog.get_logger()

#: After a fault that may pass, before the same job is tried again (seconds).
RETRY_PAUSE_S = 1.0


class WorkerLanes:
    """All lanes of one worker. ``on_model`` is called with the model of every batch."""

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
        self.stop_flag = StopFlag()
        # One connection for each thread that may call Redis while another one blocks on it.
        self._connections = [connect(settings) for _ in range(4)]
        self._leases, beating, reporting, self._returning = (
            Leases(redis, worker_id, settings) for redis in self._connections
        )
        self._active_batches = ActiveBatches()
        self._utilization = UtilizationClock()
        self._pausing = Pausing(engine, self.stop_flag, self._show_facts)
        self._heartbeat = Heartbeat(
            beating,
            self._facts(),
            interval_s=min(1.0, settings.lease_s / 4),
            take_metrics=self._take_metrics,
        )
        self._reporter = ProgressReporter(reporting, engine.progress)
        self._drawing = threading.Lock()
        self._drawer = BatchDrawer(
            engine,
            self._leases,
            self._heartbeat,
            self._active_batches,
            self._pausing,
            self.stop_flag,
            watchdog,
            settings,
        )

    @property
    def wants_restart(self) -> bool:
        """Whether the worker stopped by itself, so that a fresh process takes over."""
        return self._pausing.wants_restart

    def start(self) -> None:
        """Start the heartbeat and the progress reporter."""
        self._heartbeat.start()
        self._reporter.start()

    def dead_thread(self) -> str | None:
        """Return the name of a thread that a worker cannot serve without, if it has ended."""
        for thread in (self._heartbeat, self._reporter):
            if not thread.is_alive():
                return thread.name
        return None

    def run_lane(self) -> None:
        """Compute one batch after another until the worker is asked to stop."""
        while not self.stop_flag.requested:
            with self._drawing:
                batch = self._drawer.next_batch()
                if batch is not None and batch.alone:
                    # The lock is kept, so that no other batch begins until this one has ended.
                    self._run(batch)
                    continue
            if batch is not None:
                self._run(batch)

    def give_back_all(self) -> int:
        """Return every job that is held to the queue uncharged; return how many.

        Raises:
            RedisError: Redis does not answer; the leases will expire.
        """
        jobs = self._heartbeat.held
        self._heartbeat.release(jobs)
        return self._returning.give_back(jobs) if jobs else 0

    def leave(self) -> None:
        """Deregister, and stop the heartbeat; raises RedisError."""
        self._reporter.stop()
        self._heartbeat.stop()
        try:
            self._leases.sign_off()
        finally:
            for connection in self._connections:
                connection.close()

    def _run(self, batch: Batch) -> None:
        """Begin, compute and settle one batch."""
        with self._utilization.busy():
            jobs = batch.jobs
            self._prepare_model(jobs[0].submission.model_ref)
            self._show_facts()
            begun = retry_until_answered(
                lambda: self._leases.begin(jobs, self._facts()), self.stop_flag
            )
            outcomes: list[Outcome] = []
            if begun:
                with self._watchdog.armed(self._settings.job_timeout_s):
                    outcomes = self._engine.run(begun, self._worker_id, self._heartbeat.is_lost)
            charge = self._active_batches.finish(batch)
            self._show_facts()
            if begun:
                self._settle(begun, outcomes, charge)
            self._heartbeat.release(jobs)

    def _prepare_model(self, model_ref: str) -> None:
        """Load another model before its jobs begin, so that none of them is charged for it."""
        if model_ref != self._engine.model:
            with self._watchdog.armed(self._settings.load_timeout_s):
                self._engine.prepare(model_ref)
        self._on_model(model_ref)

    def _settle(self, jobs: list[LeasedJob], outcomes: list[Outcome], charge: BatchCharge) -> None:
        model = jobs[0].submission.model_ref
        reports = [outcome.report for outcome in outcomes if isinstance(outcome, Finished)]
        # Before the jobs are back in the queue, so that no lane of this worker draws them again.
        for trouble in {outcome.trouble for outcome in outcomes if isinstance(outcome, Returned)}:
            self._pausing.begin(trouble)
        metrics = batch_counts(len(jobs), [report.timings_s for report in reports])
        settled = list(zip(jobs, outcomes, strict=True))
        dropped = retry_until_answered(
            lambda: self._leases.settle(
                settled, self._facts(), batch_s=charge.cost_s, metrics=metrics
            ),
            self.stop_flag,
        )
        for job in dropped:
            self._engine.discard(job)
        if reports:
            self._pausing.reset(model)
        if len(reports) == len(jobs):
            self._drawer.gatherer.observe(model, len(jobs), charge)
        log.info(
            "batch_settled",
            size=len(jobs),
            finished=len(reports),
            dropped=len(dropped),
            cost_s=round(charge.cost_s, 4),
        )
        if any(isinstance(outcome, Retry) and job not in dropped for job, outcome in settled):
            self._drawer.rest(RETRY_PAUSE_S)

    def _facts(self) -> WorkerFacts:
        return WorkerFacts(
            self._worker_id,
            self._engine.device,
            self._engine.model,
            self._active_batches.ids,
            self._engine.compute_mode,
            self._engine.peak_memory_bytes,
            self._pausing.reason,
        )

    def _show_facts(self) -> None:
        self._heartbeat.show(self._facts())

    def _take_metrics(self) -> dict[str, float]:
        """Return what this worker counted since the last call."""
        utilization = self._utilization.take()
        seconds = {
            "worker_seconds_total": utilization.passed_s,
            "lane_seconds_total": utilization.passed_s * self._engine.lanes,
            "lane_busy_seconds_total": utilization.each_s,
        }
        return sum_counts([seconds, self._engine.take_metrics()])
