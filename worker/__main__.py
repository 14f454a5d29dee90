"""``python -m worker``: load and warm the model, then serve until SIGTERM."""

import os
import socket
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import structlog
from redis.exceptions import RedisError

from shared.allocator import keep_memory
from shared.errors import VoxelQError
from shared.jobs import Priority
from shared.keys import queue_name
from shared.settings import Settings
from shared.store import ScanStore
from shared.telemetry import configure_logging
from shared.watchdog import Watchdog
from worker.batch_worker import MicroBatchWorker
from worker.connection import await_usable, connect
from worker.janitor import Janitor
from worker.lease import Leases
from worker.pipeline import Pipeline
from worker.placement import lease_device
from worker.shelf import open_shelf

log = structlog.get_logger()

T = TypeVar("T")


def main() -> int:
    """Run one worker; returns the exit code."""
    configure_logging("worker")
    keep_memory()
    settings = Settings()
    redis = connect(settings)
    _when_redis_answers(lambda: await_usable(redis))
    name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    watchdog = Watchdog(name)
    # Loading is guarded as a batch is: a bundle of the user's own may hang or crash.
    try:
        with watchdog.armed(settings.job_timeout_s):
            device = _when_redis_answers(lambda: lease_device(redis, name, settings))
            settings = settings.model_copy(update={"device": device})
            pipeline = Pipeline(settings, open_shelf(settings, redis, name))
    except VoxelQError as error:
        log.error("no model can be served", reason=error.detail)  # noqa: TRY400
        with suppress(RedisError):
            Leases(redis, name, settings).sign_off()
        watchdog.close()
        return 1
    Janitor(connect(settings), ScanStore(settings.store_url), settings).start()
    code = MicroBatchWorker(
        pipeline,
        settings,
        name=name,
        queues=[queue_name(pipeline.model, priority) for priority in Priority],
        watchdog=watchdog,
    ).serve()
    pipeline.close()
    return code


def _when_redis_answers(ask: Callable[[], T]) -> T:
    """Ask until Redis answers; a worker that comes up before it is no reason to alarm."""
    while True:
        try:
            return ask()
        except RedisError as error:
            log.warning("waiting for Redis", error=type(error).__name__)
            time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
