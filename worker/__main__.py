"""``python -m worker``: load and warm the model, then serve until SIGTERM."""

import os
import socket
import sys
import time
import uuid

import structlog
from redis.exceptions import RedisError

from shared.errors import VoxelQError
from shared.jobs import Priority
from shared.keys import queue_name
from shared.settings import Settings
from shared.store import ScanStore
from shared.telemetry import configure_logging
from shared.watchdog import Watchdog
from worker.batch_worker import MicroBatchWorker
from worker.connection import connect
from worker.janitor import Janitor
from worker.pipeline import Pipeline
from worker.shelf import open_shelf

log = structlog.get_logger()


def main() -> int:
    """Run one worker; returns the exit code."""
    configure_logging("worker")
    settings = Settings()
    _await_redis(settings)
    name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    watchdog = Watchdog(name)
    # Loading is guarded as a batch is: a bundle of the user's own may hang or crash.
    try:
        with watchdog.armed(settings.job_timeout_s):
            pipeline = Pipeline(settings, open_shelf(settings, connect(settings), name))
    except VoxelQError as error:
        log.error("no model can be served", reason=error.detail)  # noqa: TRY400
        watchdog.close()
        return 1
    Janitor(connect(settings), ScanStore(settings.store_url), settings).start()
    MicroBatchWorker(
        pipeline,
        settings,
        name=name,
        queues=[queue_name(pipeline.model, priority) for priority in Priority],
        watchdog=watchdog,
    ).work()
    pipeline.close()
    return 0


def _await_redis(settings: Settings) -> None:
    """Return once Redis answers; a worker that comes up before it is no reason to alarm."""
    with connect(settings) as redis:
        while True:
            try:
                redis.ping()
            except RedisError as error:
                log.warning("waiting for Redis", error=type(error).__name__)
                time.sleep(1)
            else:
                return


if __name__ == "__main__":
    sys.exit(main())
