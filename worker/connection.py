"""A worker's connections to Redis."""

import time

import structlog
from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from shared.failover import FailoverRedis
from shared.redis_check import UNKNOWN, check_redis
from shared.settings import Settings

log = structlog.get_logger()

#: Longest that a call may block on the server's side (seconds).
LONGEST_BLOCK_S = 1.0
#: Between two looks at a Redis that the queue cannot use (seconds).
LOOK_AGAIN_S = 10.0


def connect(settings: Settings) -> Redis:
    """Return a client for one worker's own use; its time-outs outlast its blocking calls."""
    return FailoverRedis.from_url(
        settings.redis_url,
        socket_timeout=LONGEST_BLOCK_S + 5,
        socket_connect_timeout=5,
        health_check_interval=30,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 3),
    )


def await_usable(redis: Redis) -> None:
    """Log what is wrong with the server, and return once the queue can work with it at all.

    A worker that ended here instead would only be started again and again.

    Raises:
        RedisError: Redis does not answer.
    """
    while True:
        try:
            findings = check_redis(redis.info())
        except NoPermissionError:
            findings = [UNKNOWN]
        log.info("redis_checked", codes=[finding.code for finding in findings])
        for finding in findings:
            level = log.error if finding.severity == "error" else log.warning
            level("redis_unfit", code=finding.code, wrong=finding.wrong, todo=finding.todo)
        if not any(finding.unusable for finding in findings):
            return
        redis.connection_pool.disconnect()  # its address may lead to another server by then
        time.sleep(LOOK_AGAIN_S)
