"""Whether the store is the one that the queue's scans are in.

A folder that is not mounted, or a relative ``STORE_URL``, looks like an empty store: workers would
fail every job for a scan that is not there. So the store holds a small file with a random id, and
Redis holds the same id.
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

#: What Redis knows is asked for again after this time (seconds).
KNOWN_FOR_S = 1.0
#: What a store that is no disk holds is read again after this time (seconds).
FOUND_FOR_S = 30.0

# What Redis holds while one process creates the store, which takes no longer (seconds).
_CREATING = "creating"
_CREATED_WITHIN_S = 2.0
_CREATING_TICK_S = 0.02

# A mask is rarely larger than this, so a store that takes it takes the next mask.
_PROBE_BYTES = 1 << 20


class StoreIdentity:
    """Compares the store's id with the one in Redis; any thread may call it.

    Args:
        redis: A blocking client.
        store: The store.
        takes_scans: Whether scans are uploaded through this process. While the queue holds no
            jobs, its store is the right one, whichever Redis knew before.

    """

    def __init__(self, redis: Redis, store: ScanStore, *, takes_scans: bool = False) -> None:
        self._redis = redis
        self._store = store
        self._takes_scans = takes_scans
        self._known: str | None = None
        self._known_until = 0.0
        self._found: str | None = None
        self._found_until = 0.0
        if store.is_relative:
            log.warning("store_url_relative", store=store.url)

    def check(self) -> None:
        """Return if the store is there and is the right one; costs well under a millisecond.

        While Redis does not answer, what it said last holds.

        Raises:
            StoreUnavailable: The store cannot be read, or a new one cannot be written.
            WrongStore: It is not the store of this queue.

        """
        try:
            known = self._ask_redis()
        except RedisError:
            self._known_until = time.monotonic() + KNOWN_FOR_S
            known = self._known
            if known is None:
                return
        found = self._look()
        if found is not None and found == known:
            return
        try:
            self._agree()
        except RedisError as error:
            log.warning("store_identity_unknown", error=type(error).__name__)

    def probe(self) -> None:
        """Return if the store is the right one and can be written, read and deleted from.

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
        """Have Redis know this store from now on, whatever it knew before.

        Raises:
            RedisError: Redis does not answer, or refuses writes.
            StoreUnavailable: The store cannot be read or written.

        """
        found = self._read() or self._write(uuid.uuid4().hex)
        self._redis.set(keys.STORE, found)
        self._known, self._found = found, found

    def _agree(self) -> None:
        """Compare the ids themselves, with nothing remembered; raises as `check` and RedisError."""
        known, found = self._introduce()
        if known == found:
            return
        if found and self._takes_scans and not self._redis.exists(keys.INDEX):
            self.adopt()
            log.warning("store_adopted", store=self._store.url)
            return
        what = "holds the scans of another queue" if found else "is not a store of VoxelQ"
        raise WrongStore(
            f"The folder at STORE_URL ({self._store.url}) {what}, and not the scans of this one. "
            "Is it mounted? Is STORE_URL the same for the API and all workers? If it was replaced "
            "on purpose, run `voxelq recover --adopt-store`.",
            retry_after_s=5,
        )

    def _introduce(self) -> tuple[str, str | None]:
        """Return the ids in Redis and in the store; make Redis know this store if it knows none.

        One process alone creates an id, and the others wait: were two of them to create one, each
        in a folder of its own, neither could tell that the other's folder is another.
        """
        end_at = time.monotonic() + 2 * _CREATED_WITHIN_S
        while time.monotonic() < end_at:
            self._known_until = self._found_until = 0.0
            known, found = self._ask_redis(), self._look()
            if known not in (None, _CREATING):
                return str(known), found
            if found is not None and known is None:
                self._redis.set(keys.STORE, found, nx=True)
            elif known is None and self._redis.set(
                keys.STORE, _CREATING, nx=True, px=int(_CREATED_WITHIN_S * 1000)
            ):
                self._redis.set(keys.STORE, self._write(uuid.uuid4().hex))
            elif known == _CREATING:
                time.sleep(_CREATING_TICK_S)
        raise StoreUnavailable("The store is about to be created.", retry_after_s=1)

    def _ask_redis(self) -> str | None:
        if time.monotonic() >= self._known_until:
            answer = self._redis.get(keys.STORE)
            self._known = answer.decode() if isinstance(answer, bytes) else None
            self._known_until = time.monotonic() + KNOWN_FOR_S
        return self._known

    def _look(self) -> str | None:
        # A disk is looked at each time: it costs little, and mounts go away.
        if self._store.on_disk or time.monotonic() >= self._found_until:
            self._found = self._read()
            self._found_until = time.monotonic() + FOUND_FOR_S
        return self._found

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
