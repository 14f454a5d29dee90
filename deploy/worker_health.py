"""Exit 0 when the worker of this container has sent a heartbeat that still holds."""

import socket
import sys
import time

from redis import Redis

from shared import keys
from shared.settings import Settings


def main() -> int:
    """Return 0 for healthy, 1 for not."""
    redis = Redis.from_url(
        Settings().redis_url, decode_responses=True, socket_timeout=3, socket_connect_timeout=3
    )
    alive = redis.zrangebyscore(keys.WORKERS, time.time(), "+inf")
    own = f"{socket.gethostname()}-"
    return 0 if any(str(name).startswith(own) for name in alive) else 1


if __name__ == "__main__":
    sys.exit(main())
