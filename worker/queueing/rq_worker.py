"""MicroBatchWorker: an RQ worker that computes jobs in batches, in several lanes.

This module holds all that depends on RQ's internals: the birth and death of a worker as ``rq info``
shows them. A test fails when an RQ release changes them.
"""

import os
import signal
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any

import structlog
from redis.exceptions import RedisError
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer

from shared.jobs import Priority
from shared.queue.keys import queue_name
from shared.queue.watchdog import Watchdog
from shared.settings import Settings
from worker.queueing.connection import connect
from worker.queueing.engine import Engine
from worker.queueing.lanes import WorkerLanes
from worker.queueing.redis_retry import retry_until_answered

log = structlog.get_logger()

#: Between two checks of the lanes (seconds); signals are handled at once.
CHECK_LANES_S = 0.2


class MicroBatchWorker(SimpleWorker):
    """Computes batches until SIGTERM or SIGINT; then finishes the active ones and exits.

    Jobs that are not finished within ``DRAIN_S`` go back to the queue uncharged.
    """

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
        self._watchdog = watchdog
        self._lanes = WorkerLanes(engine, settings, name, watchdog, self._list_model)
        self._listing = threading.Lock()
        self._error: BaseException | None = None
        self._drain_s = settings.drain_s
        self._threads_remain = False

    def work(self, *_: Any, **__: Any) -> bool:
        """Serve until asked to stop; return False if only a fresh process can continue."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        retry_until_answered(self.register_birth, self._lanes.stop_flag)
        self._lanes.start()
        log.info(
            "worker_ready", worker=self.name, device=self._engine.device, lanes=self._engine.lanes
        )
        threads = [
            threading.Thread(target=self._run_lane, name=f"lane-{number}", daemon=True)
            for number in range(self._engine.lanes)
        ]
        for thread in threads:
            thread.start()
        self._watch(threads)
        self._sign_off()
        return not self._lanes.wants_restart

    def serve(self) -> int:
        """Work, and return the exit code; exits the process itself if a lane still computes."""
        code = 0 if self.work() else 1
        if self._threads_remain:
            os._exit(code)  # a thread inside torch cannot be stopped
        return code

    def _watch(self, threads: Sequence[threading.Thread]) -> None:
        """Return once every lane has ended, or the time for them to drain is over.

        An error leaves this loop and ends the process without deregistering, so that the watchdog
        reports a crash.
        """
        give_back_at: float | None = None
        while self._wait_and_check_lanes(threads):
            if (name := self._lanes.dead_thread()) is not None:
                raise RuntimeError(f"the thread {name} has ended")
            if not self._lanes.stop_flag.requested:
                continue
            give_back_at = give_back_at or time.monotonic() + self._drain_s
            if time.monotonic() >= give_back_at:
                self._give_back()
                return

    def _wait_and_check_lanes(self, threads: Sequence[threading.Thread]) -> bool:
        """Wait a little for lanes to end; return whether any runs, or raise the error of one."""
        for thread in threads:
            thread.join(CHECK_LANES_S / len(threads))
        if self._error is not None:
            raise self._error
        return any(thread.is_alive() for thread in threads)

    def _give_back(self) -> None:
        """Return the active jobs to the queue: if killed later, they would count as crashes."""
        self._threads_remain = True
        try:
            log.info("held_jobs_given_back", count=self._lanes.give_back_all())
        except RedisError as error:
            log.warning("held_jobs_kept", error=type(error).__name__)

    def _run_lane(self) -> None:
        try:
            self._lanes.run_lane()
        except BaseException as error:  # raised by the main thread, which ends the process
            self._error = error

    def _stop(self, _: int, __: FrameType | None) -> None:
        self._lanes.stop_flag.request()

    def _list_model(self, model_ref: str) -> None:
        """Have RQ list this worker under the queues of a model that it serves."""
        with self._listing:
            listed = set(self.queue_names())
            new = {queue_name(model_ref, priority) for priority in Priority} - listed
            if not new:
                return
            self.queues += [
                Queue(name, connection=self.connection, serializer=JSONSerializer)
                for name in sorted(new)
            ]
            names = ",".join(self.queue_names())
        retry_until_answered(
            lambda: self.connection.hset(self.key, "queues", names), self._lanes.stop_flag
        )

    def _sign_off(self) -> None:
        try:
            self._lanes.leave()
            self.register_death()  # type: ignore[no-untyped-call]
        except RedisError as error:
            # Lease expiry will remove this worker.
            log.warning("worker_left_silently", error=type(error).__name__)
        self._watchdog.close()
        log.info("worker_stopped", worker=self.name)
