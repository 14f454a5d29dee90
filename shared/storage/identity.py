"""Checks that the store is the one that holds the queue's scans.

A folder that is not mounted, or a relative ``STORE_URL``, looks like an empty store, and workers
would fail every job because its scan is missing. So the store has a small file with a random id,
and Redis has the same id.
"""

import json
import os
import socket
import time
import uuid

import structlog
from redis import Redis
from redis.exceptions import RedisError

from shared.errors import StoreUnavailable, WrongStore
from shared.queue import keys
from shared.storage.store import ScanStore

log = structlog.get_logger()

#: The file at the store's root that holds its id.
FILE_NAME = "voxelq-store.json"

#: The id in Redis is read again after this time (seconds).
REDIS_ID_VALID_S = 1.0
#: The id in a store that is not on a disk is read again after this time (seconds).
STORE_ID_VALID_S = 30.0

# The value in Redis while one process creates the store, and how long that may take (seconds).
_CREATING = "creating"
_CREATED_WITHIN_S = 2.0
_CREATING_TICK_S = 0.02

# Masks are rarely larger than this, so that a store that accepts it will accept the next mask.
_PROBE_BYTES = 1 << 20


class StoreIdentity:
    """Compares the store's id with the one in Redis. Thread-safe.

    Args:
        redis: A blocking client.
        store: The store.
        takes_scans: Whether scans are uploaded through this process. If so, and the queue has no
            jobs, its store becomes the queue's store, with any id in Redis.

    """

    def __init__(self, redis: Redis, store: ScanStore, *, takes_scans: bool = False) -> None:
        self._redis = redis
        self._store = store
        self._takes_scans = takes_scans
        self._redis_id: str | None = None
        self._redis_id_until = 0.0
        self._store_id: str | None = None
        self._store_id_until = 0.0
        if store.is_relative:
            log.warning("store_url_relative", store=store.url)

    def check(self) -> None:
        """Return if the store exists and belongs to the queue; takes well under a millisecond.

        While Redis does not answer, its last known id is used.

        Raises:
            StoreUnavailable: The store cannot be read, or a new one cannot be written.
            WrongStore: It is not the store of this queue.

        """
        try:
            redis_id = self._read_redis_id()
        except RedisError:
            self._redis_id_until = time.monotonic() + REDIS_ID_VALID_S
            redis_id = self._redis_id
            if redis_id is None:
                return
        store_id = self._read_store_id()
        if store_id is not None and store_id == redis_id:
            return
        try:
            self._agree()
        except RedisError as error:
            log.warning("store_identity_unknown", error=type(error).__name__)

    def probe(self) -> None:
        """Return if the store belongs to the queue and files can be written, read and deleted.

        Raises:
            StoreUnavailable: It cannot.
            WrongStore: It is not the store of this queue.
            StoreFull: It has no room for a mask.

        """
        self.check()
        key = f"voxelq-probe-{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        content = os.urandom(_PROBE_BYTES)
        try:
            self._store.write(key, content)
            if self._store.read(key) != content:
                raise StoreUnavailable("The store returns other bytes than were written to it.")
        except FileNotFoundError as error:
            raise StoreUnavailable("The store loses what is written to it.") from error
        finally:
            self._store.delete(key)

    def adopt(self) -> None:
        """Make this store the queue's store, with any id in Redis.

        Raises:
            RedisError: Redis does not answer, or refuses writes.
            StoreUnavailable: The store cannot be read or written.

        """
        store_id = self._read() or self._write(uuid.uuid4().hex)
        self._redis.set(keys.STORE, store_id)
        self._redis_id, self._store_id = store_id, store_id

    def _agree(self) -> None:
        """Compare the ids without caches; raises as `check` does, and RedisError."""
        redis_id, store_id = self._agreed_ids()
        if redis_id == store_id:
            return
        if store_id and self._takes_scans and not self._redis.exists(keys.INDEX):
            self.adopt()
            log.warning("store_adopted", store=self._store.url)
            return
        what = "holds the scans of another queue" if store_id else "is not a store of VoxelQ"
        raise WrongStore(
            f"The folder at STORE_URL ({self._store.url}) {what}, and not the scans of this one. "
            "Is it mounted? Is STORE_URL the same for the API and all workers? If it was replaced "
            "on purpose, run `voxelq recover --adopt-store`.",
            retry_after_s=5,
        )

    def _agreed_ids(self) -> tuple[str, str | None]:
        """Return the ids in Redis and in the store, and create them if there are none yet.

        Only one process creates an id, and the others wait. If two processes created ids at once,
        each in a folder of its own, they would not notice that their folders differ.
        """
        end_at = time.monotonic() + 2 * _CREATED_WITHIN_S
        while time.monotonic() < end_at:
            self._redis_id_until = self._store_id_until = 0.0
            redis_id, store_id = self._read_redis_id(), self._read_store_id()
            if redis_id not in (None, _CREATING):
                return str(redis_id), store_id
            if store_id is not None and redis_id is None:
                self._redis.set(keys.STORE, store_id, nx=True)
            elif redis_id is None and self._redis.set(
                keys.STORE, _CREATING, nx=True, px=int(_CREATED_WITHIN_S * 1000)
            ):
                self._redis.set(keys.STORE, self._write(uuid.uuid4().hex))
            elif redis_id == _CREATING:
                time.sleep(_CREATING_TICK_S)
        raise StoreUnavailable("The store is about to be created.", retry_after_s=1)

    def _read_redis_id(self) -> str | None:
        if time.monotonic() >= self._redis_id_until:
            stored = self._redis.get(keys.STORE)
            self._redis_id = stored.decode() if isinstance(stored, bytes) else None
            self._redis_id_until = time.monotonic() + REDIS_ID_VALID_S
        return self._redis_id

    def _read_store_id(self) -> str | None:
        # A disk is read each time: that is cheap, and a mount may go away.
        if self._store.on_disk or time.monotonic() >= self._store_id_until:
            self._store_id = self._read()
            self._store_id_until = time.monotonic() + STORE_ID_VALID_S
        return self._store_id

    def _read(self) -> str | None:
        try:
            content = self._store.read(FILE_NAME)
        except FileNotFoundError:
            return None
        try:
            return str(json.loads(content)["store"])
        except (ValueError, KeyError, TypeError) as error:
            raise StoreUnavailable(
                f"{FILE_NAME} in {self._store.url} cannot be read: it is damaged. If the scans "
                "beside it are those of this queue, remove it and run "
                "`voxelq recover --adopt-store`."
            ) from error

    def _write(self, store_id: str) -> str:
        self._store.replace(FILE_NAME, json.dumps({"store": store_id}).encode())
        log.info("store_created", store=self._store.url)
        return store_id
