"""The data set in Redis, which has an id of its own: one data set is one service.

The record beside each scan names it. So a service whose data set was lost knows which scans are
its own, and two services on one store leave each other's alone.
"""

import threading
import uuid

import structlog
from redis import Redis
from redis.exceptions import RedisError

from shared.queue import keys

log = structlog.get_logger()


class DataSet:
    """The data set behind one Redis address, as one process knows it; any thread may call it.

    Every method may raise RedisError.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._lock = threading.Lock()
        self._ids: list[str] = []
        self._run_id: str | None = None

    @property
    def ids(self) -> frozenset[str]:
        """Every id that this process has known, so the jobs that it answers for."""
        with self._lock:
            return frozenset(self._ids)

    def id(self) -> str:
        """Return the data set's id; the first process to ask gives it one."""
        with self._lock:
            if not self._ids:
                self._look()
            return self._ids[-1]

    def look(self) -> bool:
        """Return whether jobs may have been lost since the last look.

        The data set has gone or is another one, or the server was started again and may have
        lost what it wrote last. A lost data set gets back the id that this process knows.
        """
        with self._lock:
            return self._look()

    def _look(self) -> bool:
        with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.get(keys.SERVICE)
            pipeline.info("server")
            stored, server = pipeline.execute(raise_on_error=False)
        if isinstance(stored, RedisError):
            raise stored
        # Some servers do not say which run of theirs this is.
        run_id = server.get("run_id") if isinstance(server, dict) else None
        suspicious = stored is None or run_id != self._run_id
        if stored is None:
            own = self._ids[-1] if self._ids else uuid.uuid4().hex
            self._redis.set(keys.SERVICE, own, nx=True)
            stored = self._redis.get(keys.SERVICE) or own.encode()
            if self._ids:
                log.warning("data_set_lost")
        found = stored.decode()
        if not self._ids or found != self._ids[-1]:
            suspicious = True
            self._ids = [*(known for known in self._ids if known != found), found]
        self._run_id = run_id
        return suspicious
