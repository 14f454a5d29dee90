"""``python -m worker``: load and warm the model, then compute batches until SIGTERM."""

import logging
import os
import socket
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TypeVar

import structlog
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from shared.allocator import keep_memory
from shared.errors import VoxelQError
from shared.jobs import Priority
from shared.queue.keys import queue_name
from shared.queue.watchdog import Watchdog
from shared.settings import Settings
from shared.storage.identity import StoreIdentity
from shared.storage.store import ScanStore
from shared.telemetry import configure_logging, log_unexpected_error
from worker.device.gpu_lease import lease_device
from worker.early_stop import EarlyStop
from worker.models.cache import ModelCache, open_model_cache
from worker.models.loader import Predictor
from worker.pipeline.pipeline import Pipeline
from worker.pipeline.self_check import StoreCheck
from worker.queueing.connection import await_usable, connect
from worker.queueing.leases import Leases, WorkerFacts
from worker.queueing.pause import Pause
from worker.queueing.retention import Retention
from worker.queueing.rq_worker import MicroBatchWorker

log = structlog.get_logger()

T = TypeVar("T")

#: Time-out of the calls by which a worker signs off before its first batch (seconds).
SIGN_OFF_S = 0.5


class DeviceSuspected(Exception):
    """No model could be loaded on a GPU; a fresh process may succeed."""


def main() -> int:
    """Run one worker; returns the exit code."""
    configure_logging("worker")
    sys.excepthook = _log_crash
    keep_memory()
    settings = Settings()
    with EarlyStop() as early_stop:
        redis = connect(settings)
        _once_redis_answers(lambda: await_usable(redis))
        name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        watchdog = Watchdog(name)
        early_stop.on_stop = partial(_sign_off, settings, name, watchdog)
        # First, because it frees a full disk, which may keep Redis from all the writes below.
        store = ScanStore(settings.store_url, reserve_bytes=settings.store_reserve_bytes)
        Retention(connect(settings), store, settings).start()
        try:
            with watchdog.armed(settings.load_timeout_s):
                device = _once_redis_answers(lambda: lease_device(redis, name, settings))
                settings = settings.model_copy(update={"device": device})
                model_cache = open_model_cache(settings, redis, name)
        except VoxelQError as error:
            log.error("device_not_usable", reason=error.detail)  # noqa: TRY400
            _sign_off(settings, name, watchdog)
            return 1
        identity = StoreIdentity(connect(settings), store)
        check_store = StoreCheck(identity.check, identity.probe)
        try:
            pipeline = _load(settings, model_cache, check_store, name, watchdog)
        except DeviceSuspected:
            log.warning("worker_restarting", reason="a fresh process may load a model")
            _sign_off(settings, name, watchdog)
            return 1
        worker = MicroBatchWorker(
            pipeline,
            settings,
            name=name,
            queues=[queue_name(pipeline.model, priority) for priority in Priority],
            watchdog=watchdog,
        )
    code = worker.serve()
    pipeline.close()
    return code


def _load(
    settings: Settings,
    model_cache: ModelCache[Predictor],
    check_store: StoreCheck,
    name: str,
    watchdog: Watchdog,
) -> Pipeline:
    """Return a pipeline once a model loads; until then, publish why none does.

    The watchdog guards each try, because a user's own bundle may hang or crash.

    Raises:
        DeviceSuspected: It failed on a GPU, whose context may be broken in this process.
    """
    pause = Pause()
    while True:
        with watchdog.armed(settings.load_timeout_s):
            try:
                return Pipeline(settings, model_cache, check_store)
            except VoxelQError as error:
                reason = error.detail
        pause.begin(reason)
        log.error("no_model_loaded", reason=reason, retry_in_s=round(pause.left_s))
        facts = WorkerFacts(name, settings.device, None, paused=reason)
        with connect(settings) as redis:
            while (left_s := pause.left_s) > 0:
                with suppress(RedisError):
                    Leases(redis, name, settings).extend([], facts)
                time.sleep(min(left_s, settings.lease_s / 4))
        if settings.device != "cpu":
            raise DeviceSuspected


def _sign_off(settings: Settings, name: str, watchdog: Watchdog) -> None:
    """Leave the queue and end the watchdog, which would otherwise report a crash."""
    watchdog.close()
    with (
        suppress(RedisError),
        Redis.from_url(
            settings.redis_url,
            socket_timeout=SIGN_OFF_S,
            socket_connect_timeout=SIGN_OFF_S,
            retry=Retry(NoBackoff(), 0),
        ) as redis,
    ):
        Leases(redis, name, settings).sign_off()


def _log_crash(_: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
    """Log what ended the process, but not its message, which may quote a scan."""
    log_unexpected_error("worker_crashed", error, level=logging.CRITICAL)


def _once_redis_answers(action: Callable[[], T]) -> T:
    """Call ``action`` until Redis answers; it is no error if a worker starts before Redis."""
    while True:
        try:
            return action()
        except RedisError as error:
            log.warning("redis_awaited", error=type(error).__name__)
            time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
