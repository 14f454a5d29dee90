"""What a worker draws: the first jobs, then more of their model that arrive in time."""

import threading
import time
from collections.abc import Callable

from redis.exceptions import RedisError

from shared.batching.policy import BatchBounds, BatchPlanner
from shared.settings import Settings
from worker.pipeline.outcomes import LeasedJob
from worker.queueing.active_batches import ActiveBatches, BatchCharge
from worker.queueing.draw import Draw
from worker.queueing.heartbeat import Heartbeat
from worker.queueing.leases import Leases

#: Between two draws for more jobs while a batch gathers (seconds).
GATHER_TICK_S = 0.001


class BatchGatherer:
    """Forms the batches of one worker by the batching policy.

    One lane gathers at a time; any lane may call ``observe``.
    """

    def __init__(
        self,
        leases: Leases,
        heartbeat: Heartbeat,
        active_batches: ActiveBatches,
        settings: Settings,
    ) -> None:
        self._leases = leases
        self._heartbeat = heartbeat
        self._active_batches = active_batches
        self._most = settings.max_batch_size
        self._planner = BatchPlanner(
            BatchBounds(
                settings.max_batch_size, settings.max_latency_ms / 1000, settings.adaptive_batching
            )
        )
        self._planning = threading.Lock()

    def gather(
        self, concurrency: int, skipped: frozenset[str], go_on: Callable[[], bool]
    ) -> list[LeasedJob]:
        """Draw a batch, and hold its leases; raises RedisError if the first draw fails.

        Args:
            concurrency: How many batches this worker may compute at the same time.
            skipped: Models whose jobs are left to other workers.
            go_on: Whether more jobs may still be waited for.
        """
        with self._planning:
            thresholds = self._planner.all_thresholds()
        # other lanes that could compute now if they had a scan
        spare = max(0, concurrency - len(self._active_batches) - 1)
        draw = self._leases.draw(self._most, thresholds=thresholds, spare=spare, skipped=skipped)
        self._heartbeat.hold(draw.jobs)
        began = self._observe(draw)
        jobs = list(draw.jobs)
        if not jobs or jobs[0].alone:
            return jobs
        drawn = jobs[0].submission.model_ref
        left = draw.traffic.left if draw.traffic else 0
        while go_on() and self._wants_more(drawn, len(jobs), left, began):
            try:
                draw = self._leases.draw(self._most - len(jobs), model=drawn)
            except RedisError:
                break  # compute what is drawn: its leases are held
            self._heartbeat.hold(draw.jobs)
            self._observe(draw)
            jobs += draw.jobs
            left = draw.traffic.left if draw.traffic else left
            if not draw.jobs:
                time.sleep(GATHER_TICK_S)
        return jobs

    def observe(self, model: str, size: int, charge: BatchCharge) -> None:
        """Learn what a batch of ``size`` scans cost."""
        with self._planning:
            self._planner.observe_batch(model, size, *charge)

    def _wants_more(self, model: str, size: int, left: int, began: float) -> bool:
        waited_s = time.monotonic() - began
        with self._planning:
            return self._planner.wants_more(model, size=size, left=left, waited_s=waited_s)

    def _observe(self, draw: Draw) -> float:
        """Learn from what a draw saw; return when it was (monotonic seconds)."""
        seen, now_s = draw.traffic, time.monotonic()
        if seen is not None:
            with self._planning:
                self._planner.observe_queue(
                    arrived=seen.ever_queued,
                    workers=seen.workers,
                    idle=seen.idle,
                    now_s=now_s,
                    ages_s=seen.ages_s,
                )
        return now_s
