"""A worker's connections to Redis."""

import time

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from shared.queue.failover import FailoverRedis
from shared.queue.redis_check import CHECK_AGAIN_S, INFO_FORBIDDEN, check_redis, log_findings
from shared.settings import Settings

#: Longest that a call may block on the server's side (seconds).
LONGEST_BLOCK_S = 1.0


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
    """Log what is wrong with the server, and return once the queue can use it.

    A worker that exited here instead would be restarted again and again.

    Raises:
        RedisError: Redis does not answer.
    """
    while True:
        try:
            findings = check_redis(redis.info())
        except NoPermissionError:
            findings = [INFO_FORBIDDEN]
        log_findings(findings)
        if not any(finding.unusable for finding in findings):
            return
        redis.connection_pool.disconnect()  # its address may point to another server by then
        time.sleep(CHECK_AGAIN_S)
