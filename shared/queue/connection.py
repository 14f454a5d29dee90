"""An API process's connections to Redis, and the messages for users when a command fails."""

from redis import Redis as BlockingRedis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterError,
    NoPermissionError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.errors import ServiceUnavailable
from shared.queue.failover import DEMOTED, AsyncFailoverRedis, FailoverRedis

#: A command that takes longer than this means that Redis cannot be reached (seconds).
COMMAND_TIMEOUT_S = 5.0
RETRY_AFTER_S = 2

#: The message for users of each kind of error; the first kind that matches counts.
_MESSAGES: tuple[tuple[type[RedisError] | tuple[type[RedisError], ...], str], ...] = (
    (BusyLoadingError, "Redis is still loading its data; try again shortly."),
    (DEMOTED, "Redis is read-only just now: this server is a replica. Try again shortly."),
    (
        OutOfMemoryError,
        "Redis is full: it has reached its maxmemory, which the operator can raise.",
    ),
    (AuthenticationError, "Redis refuses the user name or password of REDIS_URL."),
    (NoPermissionError, "Redis does not allow the user of REDIS_URL what the queue needs."),
    (ClusterError, "Redis runs in cluster mode, which the queue cannot use."),
    (RedisTimeoutError, "Redis takes too long to answer; try again shortly."),
    (RedisConnectionError, "Redis does not answer; try again shortly."),
)
#: The message for users of errors without a class of their own, by their first word.
_MESSAGES_BY_CODE = {
    "MISCONF": "Redis cannot write to its disk and refuses changes; its operator must look there.",
    "NOREPLICAS": "Redis has too few replicas and refuses changes; its operator must look there.",
    "UNBLOCKED": "Redis has just become a replica; try again shortly.",
    "BUSY": "Redis is busy with a long script; try again shortly.",
}
_REFUSED = "Redis refused a command of the queue; `voxelq doctor` says what may be wrong with it."


def connect(url: str, timeout_s: float, connections: int) -> Redis:
    """Return a client with at most this many connections and this timeout for each reply."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=COMMAND_TIMEOUT_S,
        health_check_interval=30,
        # Scripts may be repeated: each knows its jobs by their ids and changes nothing twice.
        # Timeouts are not retried, because the caller has waited long enough.
        retry=Retry(
            ExponentialBackoff(cap=0.5, base=0.05),
            4,
            supported_errors=(RedisConnectionError,),
        ),
    )
    return AsyncFailoverRedis.from_pool(pool)  # closing the client closes the pool


def connect_blocking(url: str) -> BlockingRedis:
    """Return a client for an API process's threads and for commands."""
    return FailoverRedis.from_url(
        url,
        socket_timeout=COMMAND_TIMEOUT_S,
        socket_connect_timeout=COMMAND_TIMEOUT_S,
        health_check_interval=30,
    )


def redis_unavailable(error: RedisError) -> ServiceUnavailable:
    """Return the error for a client whose request failed because of ``error``."""
    return ServiceUnavailable(describe_redis_error(error), retry_after_s=RETRY_AFTER_S)


def describe_redis_error(error: RedisError) -> str:
    """Return what ``error`` means to users and operators, without the text of the error itself."""
    for kind, message in _MESSAGES:
        if isinstance(error, kind):
            return message
    if isinstance(error, ResponseError):
        return _MESSAGES_BY_CODE.get(str(error).partition(" ")[0], _REFUSED)
    return "Redis does not answer; try again shortly."
