"""Calls to Redis that are repeated until it answers, because leased jobs must not be lost."""

import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from redis.exceptions import RedisError

from shared.queue.scripts import is_script_fault
from worker.queueing.stop_flag import StopFlag

log = structlog.get_logger()

T = TypeVar("T")

#: The first and the longest pause between tries while Redis is away (seconds).
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.05, 2.0
#: A worker that was asked to stop tries this long to settle its batches (seconds).
LAST_TRIES_S = 10.0


def retry_until_answered(action: Callable[[], T], stop: StopFlag) -> T:
    """Call ``action`` until Redis answers, however long it is away.

    Raises:
        RedisError: Redis was away for ``LAST_TRIES_S`` and the worker was asked to stop, or the
            action can never succeed.
    """
    pause_s, waited_s = FIRST_BACKOFF_S, 0.0
    while True:
        try:
            return action()
        except RedisError as error:
            if is_script_fault(error) or (stop.requested and waited_s > LAST_TRIES_S):
                raise
            waited_s += pause_s
            log.warning("redis_awaited", error=type(error).__name__)
            time.sleep(pause_s)
            pause_s = min(MAX_BACKOFF_S, pause_s * 2)
