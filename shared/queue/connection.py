"""An API process's connections to Redis, and what is said when it is away or refuses."""

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

#: A command without an answer for so long means that Redis is away (seconds).
COMMAND_TIMEOUT_S = 5.0
RETRY_AFTER_S = 2

#: What is said of an error, the first kind that fits.
_WORDS: tuple[tuple[type[RedisError] | tuple[type[RedisError], ...], str], ...] = (
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
#: Errors that have no kind of their own begin with one of these words.
_PREFIXES = {
    "MISCONF": "Redis cannot write to its disk and refuses changes; its operator must look there.",
    "NOREPLICAS": "Redis has too few replicas and refuses changes; its operator must look there.",
    "UNBLOCKED": "Redis has just become a replica; try again shortly.",
    "BUSY": "Redis is busy with a long script; try again shortly.",
}
_REFUSED = "Redis refused a command of the queue; `voxelq doctor` says what may be wrong with it."


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
    return AsyncFailoverRedis.from_pool(pool)  # closing the client closes the pool


def connect_blocking(url: str) -> BlockingRedis:
    """Return a client for an API process's threads, and for commands that are no service."""
    return FailoverRedis.from_url(
        url,
        socket_timeout=COMMAND_TIMEOUT_S,
        socket_connect_timeout=COMMAND_TIMEOUT_S,
        health_check_interval=30,
    )


def away(error: RedisError) -> ServiceUnavailable:
    """Return what is said of Redis when it answered a command with ``error``, or not at all."""
    return ServiceUnavailable(redis_words(error), retry_after_s=RETRY_AFTER_S)


def redis_words(error: RedisError) -> str:
    """Return what ``error`` means, for those who run the service; nothing of its own text."""
    for kind, words in _WORDS:
        if isinstance(error, kind):
            return words
    if isinstance(error, ResponseError):
        return _PREFIXES.get(str(error).partition(" ")[0], _REFUSED)
    return "Redis does not answer; try again shortly."
