"""The status of each bundle in each worker, shared with all processes through Redis.

A fault of the files holds for every worker, until the files change or the status expires. That one
worker runs a bundle, or cannot, holds while that worker is alive; and a worker that runs it
outweighs all that cannot. A status belongs to one version with exactly the same files.

If a worker dies while it loads a bundle, that is only a hint: it delays the next try by a pause
that grows up to a bound, and the first successful load in any worker clears it.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import structlog
from redis import Redis
from redis.exceptions import RedisError

from shared.bundles.bundle import Bundle
from shared.queue import keys
from shared.queue.scripts import BUNDLE_STATUSES, STORE_BUNDLE_STATUS

log = structlog.get_logger()

T = TypeVar("T")

#: A status that no worker writes again expires after this time (seconds).
STATUS_TTL_S = 3600
#: While one worker tries a bundle, other workers do not, for this long at most (seconds).
RESERVED_S = 300
#: Longest pause before a worker tries again what it could not load (seconds).
LONGEST_PAUSE_S = 60.0

#: A bundle runs in a worker; its files are at fault; or this worker cannot run it now.
Kind = Literal["runs", "fault", "unable"]


@dataclass(frozen=True)
class OwnStatus:
    """A bundle's status in this worker, and after a failure when the next try is due.

    ``tries`` failed in a row; the next is due at ``retry_at``. Other workers see a status that is
    ``shared``.
    """

    kind: Kind
    reason: str = ""
    tries: int = 0
    retry_at: float = 0.0
    shared: bool = True

    @property
    def pause_s(self) -> float:
        """Seconds until it may be tried again."""
        return max(0.0, self.retry_at - time.monotonic())


class BundleStatuses:
    """The statuses of bundles in one worker, and in the others.

    If Redis is unreachable, models are still served: this worker's own statuses are in memory.
    """

    def __init__(self, redis: Redis, worker_id: str) -> None:
        self._redis = redis
        self._worker_id = worker_id
        self._own: dict[str, OwnStatus] = {}

    def read(self, bundles: Sequence[Bundle]) -> dict[str, str]:
        """Return the statuses in live workers, by bundle key: ``""`` if it runs, or the reason."""
        asked = [bundle.key for bundle in bundles if bundle.card]
        statuses: Any = None
        if asked:
            statuses = self._query(lambda: BUNDLE_STATUSES.run(self._redis, *asked), None)
        return {
            key: status.decode()
            for key, status in zip(asked, statuses or [], strict=False)
            if status is not None
        }

    def own(self, bundle: Bundle) -> OwnStatus | None:
        """Return the status of ``bundle`` in this worker; None if it was not tried."""
        return self._own.get(bundle.key)

    def fault(self, bundle: Bundle) -> str:
        """Return the fault of the files of ``bundle`` that a worker has found, or ``""``."""
        fault: Any = self._query(lambda: self._redis.get(keys.BUNDLE_FAULT + bundle.key), None)
        return fault.decode() if fault else ""

    def record_loaded(self, bundle: Bundle) -> None:
        """Record that ``bundle`` runs; earlier deaths while loading it are cleared."""
        self._own[bundle.key] = OwnStatus("runs")
        self._write(bundle.key)

    def record_fault(self, bundle: Bundle, reason: str) -> None:
        """Record that the files of ``bundle`` are at fault, for every worker."""
        self._own[bundle.key] = OwnStatus("fault", reason)
        self._write(bundle.key)

    def record_unable(self, bundle: Bundle, reason: str, *, shared: bool = True) -> None:
        """Record that this worker cannot run ``bundle`` now, and delay its next try.

        Other processes see it only if it is ``shared``.
        """
        before = self._own.get(bundle.key)
        tries = before.tries + 1 if before else 1
        pause_s = min(LONGEST_PAUSE_S, 2.0 ** min(tries - 1, 10))
        retry_at = time.monotonic() + pause_s
        self._own[bundle.key] = OwnStatus("unable", reason, tries, retry_at, shared)
        self._write(bundle.key)

    def repeat(self, bundles: Sequence[Bundle]) -> None:
        """Write the statuses of ``bundles`` again, and forget those of all others."""
        present = {bundle.key for bundle in bundles}
        self._own = {key: own for key, own in self._own.items() if key in present}
        for key in self._own:
            self._write(key)

    def reserve(self, bundle: Bundle) -> bool:
        """Reserve ``bundle`` until it has a status; returns False if another worker has it."""
        return bool(
            self._query(
                lambda: self._redis.set(
                    keys.PROVING + bundle.key, self._worker_id, nx=True, ex=RESERVED_S
                ),
                None,
            )
        )

    def deaths(self, bundle: Bundle) -> int:
        """Return how many workers have died lately while they loaded ``bundle``."""
        count: Any = self._query(lambda: self._redis.get(keys.LOADING_DEATHS + bundle.key), None)
        return int(count or 0)

    def pause_s(self, bundle: Bundle) -> float:
        """Return for how long ``bundle`` should not be tried after such deaths, in seconds."""
        left: Any = self._query(lambda: self._redis.pttl(keys.LOADING_PAUSE + bundle.key), None)
        return max(0, int(left or 0)) / 1000

    @contextmanager
    def loading(self, bundle: Bundle) -> Iterator[None]:
        """Let the watchdog count a crash of this worker within this block against ``bundle``."""
        self._query(lambda: self._redis.hset(keys.LOADING, self._worker_id, bundle.key), None)
        try:
            yield
        finally:
            self._query(lambda: self._redis.hdel(keys.LOADING, self._worker_id), None)

    def _write(self, key: str) -> None:
        own = self._own[key]
        kind = own.kind if own.shared else "unsaid"
        self._query(
            lambda: STORE_BUNDLE_STATUS.run(
                self._redis, self._worker_id, key, kind, own.reason, STATUS_TTL_S
            ),
            None,
        )

    def _query(self, query: Callable[[], T], otherwise: T) -> T:
        try:
            return query()
        except RedisError as error:
            log.warning("bundle_statuses_unreachable", error=type(error).__name__)
            return otherwise
