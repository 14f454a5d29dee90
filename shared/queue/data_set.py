"""The id of the data set in Redis, which shows whether Redis lost its data.

Each data set has a random id and belongs to one service. The record beside each scan names it, so
that a service whose data set was lost knows its scans, and ignores those of another service that
uses the same store.
"""

import threading
import uuid

import structlog
from redis import Redis
from redis.exceptions import RedisError

from shared.queue import keys

log = structlog.get_logger()


class DataSet:
    """The data set behind one Redis address, as one process knows it. Thread-safe.

    Every method may raise RedisError.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._lock = threading.Lock()
        self._ids: list[str] = []
        self._run_id: str | None = None

    @property
    def ids(self) -> frozenset[str]:
        """All ids that the data set has had while this process ran; their jobs are its own."""
        with self._lock:
            return frozenset(self._ids)

    def id(self) -> str:
        """Return the data set's id; create one if it has none."""
        with self._lock:
            if not self._ids:
                self._read()
            return self._ids[-1]

    def may_have_lost_jobs(self) -> bool:
        """Return whether jobs may have been lost since the last call.

        That is so if the data set is gone or is another one, or if the server was restarted and
        may have lost its last writes. A lost data set gets the id again that this process knows.
        """
        with self._lock:
            return self._read()

    def _read(self) -> bool:
        with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.get(keys.SERVICE)
            pipeline.info("server")
            stored, server = pipeline.execute(raise_on_error=False)
        if isinstance(stored, RedisError):
            raise stored
        # Some servers do not return a run id.
        run_id = server.get("run_id") if isinstance(server, dict) else None
        may_be_lost = stored is None or run_id != self._run_id
        if stored is None:
            own = self._ids[-1] if self._ids else uuid.uuid4().hex
            self._redis.set(keys.SERVICE, own, nx=True)
            stored = self._redis.get(keys.SERVICE) or own.encode()
            if self._ids:
                log.warning("data_set_lost")
        current = stored.decode()
        if not self._ids or current != self._ids[-1]:
            may_be_lost = True
            self._ids = [*(known for known in self._ids if known != current), current]
        self._run_id = run_id
        return may_be_lost
