"""When a worker draws its next batch: its models are fresh, it is not paused, and jobs wait."""

import time

import structlog
from redis.exceptions import RedisError

from shared.queue.watchdog import Watchdog
from shared.settings import Settings
from worker.queueing.active_batches import ActiveBatches, Batch
from worker.queueing.engine import Engine
from worker.queueing.gathering import BatchGatherer
from worker.queueing.heartbeat import Heartbeat
from worker.queueing.leases import Leases
from worker.queueing.pausing import Pausing
from worker.queueing.redis_retry import retry_until_answered
from worker.queueing.stop_flag import StopFlag

log = structlog.get_logger()

#: An idle worker draws this often even if no job wakes it (seconds).
IDLE_WAIT_S = 1.0
#: Between two draws while Redis is away (seconds).
UNREACHABLE_PAUSE_S = 0.5
#: Between two refreshes of the models (seconds).
REFRESH_MODELS_S = 1.0


class BatchDrawer:
    """Draws the batches of one worker; only one lane may call it at a time."""

    def __init__(
        self,
        engine: Engine,
        leases: Leases,
        heartbeat: Heartbeat,
        active_batches: ActiveBatches,
        pausing: Pausing,
        stop: StopFlag,
        watchdog: Watchdog,
        settings: Settings,
    ) -> None:
        self._engine = engine
        self._leases = leases
        self._heartbeat = heartbeat
        self._active_batches = active_batches
        self._pausing = pausing
        self._stop = stop
        self._watchdog = watchdog
        self._load_timeout_s = settings.load_timeout_s
        self.gatherer = BatchGatherer(leases, heartbeat, active_batches, settings)
        self._refresh_at = self._rests_until = 0.0

    def next_batch(self) -> Batch | None:
        """Draw a batch, and count it as active; None when there is none just now.

        A job that must run alone is returned once no other batch is active.
        """
        if self._stop.requested:
            return None
        self._refresh_models()
        if not self._pausing.may_draw():
            return None
        self._stop.wait_until(self._rests_until)
        try:
            jobs = self.gatherer.gather(
                self._engine.concurrency,
                self._pausing.skipped_models,
                lambda: not self._stop.requested,
            )
            if not jobs:
                self._wait_for_work()
                return None
        except RedisError as error:
            log.warning("queue_unreachable", error=type(error).__name__)
            time.sleep(UNREACHABLE_PAUSE_S)
            return None
        if jobs[0].alone:
            self._active_batches.wait_until_empty()
        if self._stop.requested:
            retry_until_answered(lambda: self._leases.give_back(jobs), self._stop)
            self._heartbeat.release(jobs)
            return None
        return self._active_batches.begin(jobs)

    def rest(self, seconds: float) -> None:
        """Draw nothing for so long."""
        self._rests_until = time.monotonic() + seconds

    def _refresh_models(self) -> None:
        """Have the engine refresh its models from time to time, guarded by the watchdog."""
        if time.monotonic() < self._refresh_at:
            return
        with self._watchdog.armed(self._load_timeout_s):
            self._engine.refresh_models()
        self._refresh_at = time.monotonic() + REFRESH_MODELS_S

    def _wait_for_work(self) -> None:
        if not self._active_batches.ids:
            self._engine.idle()
        self._leases.wait_for_work(IDLE_WAIT_S)
