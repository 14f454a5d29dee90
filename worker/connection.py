"""A worker's connections to Redis."""

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from shared.settings import Settings

#: Longest that a call may block on the server's side (seconds).
LONGEST_BLOCK_S = 1.0


def connect(settings: Settings) -> Redis:
    """Return a client for one worker's own use; its time-outs outlast its blocking calls."""
    return Redis.from_url(
        settings.redis_url,
        socket_timeout=LONGEST_BLOCK_S + 5,
        socket_connect_timeout=5,
        health_check_interval=30,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 3),
    )
