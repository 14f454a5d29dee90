"""MicroBatchWorker: an RQ worker that draws, computes and settles jobs by the batch.

All that leans on RQ's inner workings is in this module: birth and death of a worker as ``rq info``
shows them. A test fails when an RQ release changes them.
"""

import signal
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Protocol

import structlog
from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError
from redis.retry import Retry as RedisRetry
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer

from shared.batching import BatchBounds, BatchPlanner
from shared.jobs import Priority
from shared.keys import queue_name
from shared.settings import Settings
from shared.watchdog import Watchdog
from worker.heartbeat import Heartbeat
from worker.lease import Claim, Finished, Leases, Outcome, Retry, WorkerFacts

log = structlog.get_logger()

#: An idle worker looks at the queue this often even if nobody wakes it (seconds).
IDLE_WAIT_S = 1.0
#: Between two looks for company while a batch gathers (seconds).
GATHER_TICK_S = 0.001
#: Longest pause between tries while Redis is away (seconds).
MAX_BACKOFF_S = 2.0
#: Between two looks for new models (seconds).
TEND_S = 1.0
#: After a fault that may pass, before the same is tried again (seconds).
RETRY_PAUSE_S = 1.0
#: A worker that is asked to stop tries this long to settle what it has in hand (seconds).
LAST_TRIES_S = 10.0


class Engine(Protocol):
    """What computes: one network on one device."""

    @property
    def device(self) -> str:
        """Where it computes, such as ``cpu`` or ``cuda:0``."""

    @property
    def model(self) -> str:
        """``name@version`` of the network that is loaded."""

    def run(
        self, claims: Sequence[Claim], worker_id: str, is_lost: Callable[[Claim], bool]
    ) -> list[Outcome]:
        """Compute one batch of one model; one outcome a claim, in order. Never raises."""

    def prepare(self, model_ref: str) -> None:
        """Load ``name@version`` if it is not loaded. Never raises."""

    def tend(self) -> None:
        """Look after the models on disk while nothing is in hand. Never raises."""

    def discard(self, claim: Claim) -> None:
        """Remove what was written for a claim whose outcome was dropped."""

    def idle(self) -> None:
        """Give back what is only worth holding under load."""


def connect(settings: Settings) -> Redis:
    """Return a client for one worker's own use; its time-outs outlast its blocking calls."""
    return Redis.from_url(
        settings.redis_url,
        socket_timeout=IDLE_WAIT_S + 5,
        socket_connect_timeout=5,
        health_check_interval=30,
        retry=RedisRetry(ExponentialBackoff(cap=0.5, base=0.05), 3),
    )


class MicroBatchWorker(SimpleWorker):
    """Serves batches until SIGTERM or SIGINT; then finishes the one in hand and leaves."""

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        *,
        name: str,
        queues: Sequence[str],
        watchdog: Watchdog,
    ) -> None:
        super().__init__(
            list(queues),
            name=name,
            connection=connect(settings),
            serializer=JSONSerializer,
            worker_ttl=max(1, round(settings.lease_s)),
        )
        self._engine = engine
        self._settings = settings
        self._watchdog = watchdog
        self._planner = BatchPlanner(
            BatchBounds(
                settings.max_batch_size, settings.max_latency_ms / 1000, settings.adaptive_batching
            )
        )
        self._leases = Leases(connect(settings), name, settings)
        self._heartbeat = Heartbeat(
            Leases(connect(settings), name, settings),
            WorkerFacts(name, engine.device, engine.model),
            interval_s=min(1.0, settings.lease_s / 4),
        )
        self._stopping = False
        self._tend_at = 0.0

    def work(self, *_: Any, **__: Any) -> bool:
        """Serve until asked to stop; returns True, as RQ has it for a worker that worked."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        self._persist(self.register_birth)
        self._heartbeat.start()
        log.info("worker ready", worker=self.name, device=self._engine.device)
        # No `finally`: whoever falls out of this loop dies without a word, and so its watchdog
        # tells the queue.
        while not self._stopping:
            self._serve_one_batch()
        self._leave()
        return True

    def _stop(self, _: int, __: FrameType | None) -> None:
        # A flag, not an exception: one could strike between a draw and its lease's keeper.
        self._stopping = True

    def _serve_one_batch(self) -> None:
        self._tend()
        try:
            claims = self._gather()
            if not claims:
                self._rest()
                return
        except RedisError as error:
            log.warning("queue unreachable", error=type(error).__name__)
            time.sleep(MAX_BACKOFF_S / 4)
            return
        if self._stopping:
            self._persist(lambda: self._leases.give_back(claims))
            self._heartbeat.release(claims)
            return
        self._serve(claims)

    def _tend(self) -> None:
        """Let the engine look at the models, guarded as a batch is, every now and then."""
        if time.monotonic() < self._tend_at:
            return
        self._watchdog.arm(self._settings.job_timeout_s)
        self._engine.tend()
        self._watchdog.disarm()
        self._tend_at = time.monotonic() + TEND_S

    def _gather(self) -> list[Claim]:
        """Draw the first jobs, then what belongs with them and comes within the window."""
        planner, most = self._planner, self._settings.max_batch_size
        claims = self._leases.draw(most, steps=planner.steps(self._engine.model))
        self._heartbeat.hold(claims)
        began = self._see_traffic()
        if not claims or claims[0].alone:
            return claims
        model = claims[0].submission.model_ref
        while not self._stopping and planner.wants_more(
            model,
            size=len(claims),
            left=self._leases.traffic.left,
            waited_s=time.monotonic() - began,
        ):
            try:
                more = self._leases.draw(most - len(claims), model=model)
            except RedisError:
                break  # what is in hand is held, and must not be forgotten
            self._heartbeat.hold(more)
            self._see_traffic()
            claims += more
            if not more:
                time.sleep(GATHER_TICK_S)
        return claims

    def _see_traffic(self) -> float:
        """Tell the planner what the last draw saw; return when (monotonic seconds)."""
        seen, now_s = self._leases.traffic, time.monotonic()
        self._planner.saw(arrived=seen.ever_queued, workers=seen.workers, now_s=now_s)
        return now_s

    def _rest(self) -> None:
        self._engine.idle()
        self._leases.wait_for_work(IDLE_WAIT_S)

    def _serve(self, claims: list[Claim]) -> None:
        """Begin, compute and settle one batch."""
        model = claims[0].submission.model_ref
        self._change_model(model)
        began = time.monotonic()
        busy = WorkerFacts(
            self.name,
            self._engine.device,
            model,
            tuple(claim.id for claim in claims),
        )
        self._heartbeat.show(busy)
        begun = self._persist(lambda: self._leases.begin(claims, busy))
        if begun:
            self._watchdog.arm(self._settings.job_timeout_s)
            outcomes = self._engine.run(begun, self.name, self._heartbeat.is_lost)
            self._watchdog.disarm()
            self._settle(begun, outcomes, time.monotonic() - began)
            # With begin and settle: whatever a batch costs once is what a bigger one shares.
            if all(isinstance(outcome, Finished) for outcome in outcomes):
                self._planner.observe(model, len(begun), time.monotonic() - began)
        self._heartbeat.release(claims)

    def _change_model(self, model_ref: str) -> None:
        """Load another model before its jobs begin, so that none of them is charged for it."""
        if model_ref == self._engine.model:
            return
        self._watchdog.arm(self._settings.job_timeout_s)
        self._engine.prepare(model_ref)
        self._watchdog.disarm()
        names = [queue_name(model_ref, priority) for priority in Priority]
        self.queues += [
            Queue(name, connection=self.connection, serializer=JSONSerializer)
            for name in names
            if name not in self.queue_names()
        ]
        listed = ",".join(self.queue_names())
        self._persist(lambda: self.connection.hset(self.key, "queues", listed))

    def _settle(self, claims: list[Claim], outcomes: list[Outcome], batch_s: float) -> None:
        idle = WorkerFacts(self.name, self._engine.device, self._engine.model)
        self._heartbeat.show(idle)
        metrics = {"batches_total": 1.0, "batched_scans_total": float(len(claims))}
        # A stage lasts as long for every scan of the batch, so any of their reports tells it.
        reports = [outcome.report for outcome in outcomes if isinstance(outcome, Finished)]
        for stage, seconds in reports[0].timings_s if reports else ():
            if stage not in ("queue", "total"):
                metrics[f'stage_seconds_total{{stage="{stage}"}}'] = seconds
        dropped = self._persist(
            lambda: self._leases.settle(
                list(zip(claims, outcomes, strict=True)), idle, batch_s=batch_s, metrics=metrics
            )
        )
        for claim in dropped:
            self._engine.discard(claim)
        log.info(
            "batch settled",
            size=len(claims),
            finished=len(reports),
            dropped=len(dropped),
            seconds=round(batch_s, 4),
        )
        if any(
            isinstance(outcome, Retry) and claim not in dropped
            for claim, outcome in zip(claims, outcomes, strict=True)
        ):
            time.sleep(RETRY_PAUSE_S)

    def _persist(self, action: Callable[[], Any]) -> Any:
        """Do ``action`` however long Redis is away: what is in hand must not be lost.

        Raises:
            RedisError: Redis stayed away until long after this worker was asked to stop.
        """
        pause_s, waited_s = 0.05, 0.0
        while True:
            try:
                return action()
            except RedisError as error:
                if self._stopping and waited_s > LAST_TRIES_S:
                    raise
                waited_s += pause_s
                log.warning("waiting for Redis", error=type(error).__name__)
                time.sleep(pause_s)
                pause_s = min(MAX_BACKOFF_S, pause_s * 2)

    def _leave(self) -> None:
        self._heartbeat.stop()
        try:
            self._leases.sign_off()
            self.register_death()  # type: ignore[no-untyped-call]
        except RedisError as error:
            # Silence tells the same, only later.
            log.warning("left without a word", error=type(error).__name__)
        self._watchdog.close()
        log.info("worker stopped", worker=self.name)
