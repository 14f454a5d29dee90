"""An API process's connections to Redis, and what is said when it is away."""

from redis import Redis as BlockingRedis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.errors import ServiceUnavailable

#: A command without an answer for so long means that Redis is away (seconds).
COMMAND_TIMEOUT_S = 5.0


def connect(url: str, timeout_s: float, connections: int) -> Redis:
    """Return a client of so many connections, each of which waits so long for an answer."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=COMMAND_TIMEOUT_S,
        health_check_interval=30,
        # Scripts may be repeated: each is known by the job's id and changes nothing twice.
        # A server that is merely silent is not asked again: its caller has waited enough.
        retry=Retry(
            ExponentialBackoff(cap=0.5, base=0.05),
            4,
            supported_errors=(RedisConnectionError,),
        ),
    )
    return Redis.from_pool(pool)  # closing the client closes the pool


def connect_blocking(url: str) -> BlockingRedis:
    """Return a client for an API process's threads, and for commands that are no service."""
    return BlockingRedis.from_url(
        url,
        socket_timeout=COMMAND_TIMEOUT_S,
        socket_connect_timeout=COMMAND_TIMEOUT_S,
        health_check_interval=30,
    )


def away() -> ServiceUnavailable:
    """Return what is said when Redis does not answer."""
    return ServiceUnavailable("Redis does not answer; try again shortly.", retry_after_s=2)
