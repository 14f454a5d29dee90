"""MicroBatchWorker: an RQ worker that serves jobs by the batch, in lanes.

All that leans on RQ's inner workings is in this module: birth and death of a worker as ``rq info``
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
from shared.settings import Settings
from shared.watchdog import Watchdog
from worker.queueing.connection import connect
from worker.queueing.engine import Engine
from worker.queueing.lanes import BatchService

log = structlog.get_logger()

#: Between two looks at the lanes (seconds); signals are heard at once all the same.
LOOK_S = 0.2


class MicroBatchWorker(SimpleWorker):
    """Serves batches until SIGTERM or SIGINT; then finishes those in hand and leaves.

    What is not finished within ``DRAIN_S`` goes back to the queue uncharged.
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
        self._service = BatchService(engine, settings, name, watchdog, self._list_model)
        self._listing = threading.Lock()
        self._fault: BaseException | None = None
        self._drain_s = settings.drain_s
        self._lanes_left = False

    def work(self, *_: Any, **__: Any) -> bool:
        """Serve until asked to stop; returns False when only a fresh process can go on."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        self._service.persist(self.register_birth)
        self._service.start()
        log.info(
            "worker ready", worker=self.name, device=self._engine.device, lanes=self._engine.lanes
        )
        lanes = [
            threading.Thread(target=self._run_lane, name=f"lane-{number}", daemon=True)
            for number in range(self._engine.lanes)
        ]
        for lane in lanes:
            lane.start()
        self._watch(lanes)
        self._leave()
        return not self._service.wants_restart

    def serve(self) -> int:
        """Work, and return the exit code; ends the process itself where a lane still computes."""
        code = 0 if self.work() else 1
        if self._lanes_left:
            os._exit(code)  # a thread within torch can be neither stopped nor waited for
        return code

    def _watch(self, lanes: Sequence[threading.Thread]) -> None:
        """Return once every lane has ended, or ran over the time that a stop gives them.

        An error leaves this loop and ends the process without deregistering, so that the watchdog
        reports a crash.
        """
        give_back_at: float | None = None
        while self._alive(lanes):
            if (lost := self._service.vital_thread_lost()) is not None:
                raise RuntimeError(f"the thread {lost} has ended")
            if not self._service.stopping:
                continue
            give_back_at = give_back_at or time.monotonic() + self._drain_s
            if time.monotonic() >= give_back_at:
                self._give_back()
                return

    def _alive(self, lanes: Sequence[threading.Thread]) -> bool:
        """Wait a little for lanes to end, and tell whether any goes on; raises what one met."""
        for lane in lanes:
            lane.join(LOOK_S / len(lanes))
        if self._fault is not None:
            raise self._fault
        return any(lane.is_alive() for lane in lanes)

    def _give_back(self) -> None:
        """Return what is still computed to the queue: killed later, it would count as a crash."""
        self._lanes_left = True
        try:
            log.info("held_jobs_given_back", count=self._service.give_back_all())
        except RedisError as error:
            log.warning("held_jobs_kept", error=type(error).__name__)

    def _run_lane(self) -> None:
        try:
            self._service.run_lane()
        except BaseException as error:  # told by the main thread, which ends the process
            self._fault = error

    def _stop(self, _: int, __: FrameType | None) -> None:
        self._service.stop()

    def _list_model(self, model_ref: str) -> None:
        """Have RQ list this worker under the queues of a model it has come to serve."""
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
        self._service.persist(lambda: self.connection.hset(self.key, "queues", names))

    def _leave(self) -> None:
        try:
            self._service.leave()
            self.register_death()  # type: ignore[no-untyped-call]
        except RedisError as error:
            # Silence tells the same, only later.
            log.warning("worker_left_silently", error=type(error).__name__)
        self._watchdog.close()
        log.info("worker stopped", worker=self.name)
