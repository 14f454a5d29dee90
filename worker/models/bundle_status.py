"""How bundles fare in workers, told to every other process through Redis.

A fault of the files holds for every worker, until the files change or time is over. That a worker
runs a bundle, or cannot, counts for as long as that worker lives; and one that runs it counts more
than any that does not. What is told holds for the very files it was found on.

A worker's death while it loads a bundle is a hint and no more: it puts the next try off by a pause
that grows to a bound, and the first good load anywhere makes it forgotten.
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

#: What no worker repeats is forgotten after this time (seconds).
VERDICT_TTL_S = 3600
#: While one worker tries a bundle, the others leave it alone, this long at most (seconds).
CLAIM_S = 300
#: Longest pause before a worker tries again what it could not load (seconds).
LONGEST_PAUSE_S = 60.0

#: A bundle runs here; its files are at fault; or this worker cannot run it just now.
Kind = Literal["runs", "fault", "unable"]


@dataclass(frozen=True)
class Own:
    """How a bundle fares in this worker; ``tries`` in a row failed, the next is at ``retry_at``."""

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
    """How bundles fare in one worker, and in the others.

    Redis being away is no reason not to serve: what this worker found itself stands without it.
    """

    def __init__(self, redis: Redis, worker_id: str) -> None:
        self._redis = redis
        self._worker_id = worker_id
        self._own: dict[str, Own] = {}

    def read(self, bundles: Sequence[Bundle]) -> dict[str, str]:
        """Return how ``bundles`` fare in live workers, by their keys: ``""``, or what is wrong."""
        asked = [bundle.key for bundle in bundles if bundle.card]
        told: Any = None
        if asked:
            told = self._ask(lambda: BUNDLE_STATUSES.run(self._redis, *asked), None)
        return {
            key: status.decode()
            for key, status in zip(asked, told or [], strict=False)
            if status is not None
        }

    def own(self, bundle: Bundle) -> Own | None:
        """Return how ``bundle`` fares in this worker; None while it has not tried."""
        return self._own.get(bundle.key)

    def fault(self, bundle: Bundle) -> str:
        """Return what some worker found wrong with the files of ``bundle``, or nothing."""
        told: Any = self._ask(lambda: self._redis.get(keys.BUNDLE_FAULT + bundle.key), None)
        return told.decode() if told else ""

    def tell_runs(self, bundle: Bundle) -> None:
        """Say that ``bundle`` runs; deaths while it was loaded are forgotten."""
        self._own[bundle.key] = Own("runs")
        self._tell(bundle.key)

    def tell_fault(self, bundle: Bundle, reason: str) -> None:
        """Say that the files of ``bundle`` are at fault, whichever worker loads them."""
        self._own[bundle.key] = Own("fault", reason)
        self._tell(bundle.key)

    def tell_unable(self, bundle: Bundle, reason: str, *, shared: bool = True) -> None:
        """Note that this worker cannot run ``bundle`` just now, and put its next try off.

        Other processes hear of it where it is ``shared``.
        """
        before = self._own.get(bundle.key)
        tries = before.tries + 1 if before else 1
        pause_s = min(LONGEST_PAUSE_S, 2.0 ** min(tries - 1, 10))
        self._own[bundle.key] = Own("unable", reason, tries, time.monotonic() + pause_s, shared)
        self._tell(bundle.key)

    def repeat(self, bundles: Sequence[Bundle]) -> None:
        """Stand by what was found of the bundles that are still there, and forget all others."""
        present = {bundle.key for bundle in bundles}
        self._own = {key: own for key, own in self._own.items() if key in present}
        for key in self._own:
            self._tell(key)

    def reserve(self, bundle: Bundle) -> bool:
        """Tell whether this worker is the one to try ``bundle``; what it tells ends the claim."""
        return bool(
            self._ask(
                lambda: self._redis.set(
                    keys.PROVING + bundle.key, self._worker_id, nx=True, ex=CLAIM_S
                ),
                None,
            )
        )

    def deaths(self, bundle: Bundle) -> int:
        """Return how many workers died lately while they loaded ``bundle``."""
        count: Any = self._ask(lambda: self._redis.get(keys.LOADING_DEATHS + bundle.key), None)
        return int(count or 0)

    def pause_s(self, bundle: Bundle) -> float:
        """Return for how long ``bundle`` is better left alone after such deaths, in seconds."""
        left: Any = self._ask(lambda: self._redis.pttl(keys.LOADING_PAUSE + bundle.key), None)
        return max(0, int(left or 0)) / 1000

    @contextmanager
    def loading(self, bundle: Bundle) -> Iterator[None]:
        """Have the watchdog note an unplanned death within this block against ``bundle``."""
        self._ask(lambda: self._redis.hset(keys.LOADING, self._worker_id, bundle.key), None)
        try:
            yield
        finally:
            self._ask(lambda: self._redis.hdel(keys.LOADING, self._worker_id), None)

    def _tell(self, key: str) -> None:
        own = self._own[key]
        kind = own.kind if own.shared else "unsaid"
        self._ask(
            lambda: STORE_BUNDLE_STATUS.run(
                self._redis, self._worker_id, key, kind, own.reason, VERDICT_TTL_S
            ),
            None,
        )

    def _ask(self, question: Callable[[], T], otherwise: T) -> T:
        try:
            return question()
        except RedisError as error:
            log.warning("verdicts unreachable", error=type(error).__name__)
            return otherwise
