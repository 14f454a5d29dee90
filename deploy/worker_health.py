"""Exit with 0 if the worker of this container has sent a heartbeat that has not expired.

A paused worker is healthy: its environment has a fault, which ``GET /queue`` shows.
"""

import socket
import sys

from redis import Redis
from redis.exceptions import RedisError

from shared.queue import keys
from shared.settings import Settings


def main() -> int:
    """Return 0 for healthy, 1 for not."""
    redis = Redis.from_url(
        Settings().redis_url, decode_responses=True, socket_timeout=3, socket_connect_timeout=3
    )
    try:
        seconds, _ = redis.time()  # heartbeats expire by the server's clock
        alive = redis.zrangebyscore(keys.WORKERS, seconds, "+inf")
    except RedisError as error:
        sys.stderr.write(f"Redis: {type(error).__name__}\n")
        return 1
    own = f"{socket.gethostname()}-"
    return 0 if any(str(name).startswith(own) for name in alive) else 1


if __name__ == "__main__":
    sys.exit(main())
