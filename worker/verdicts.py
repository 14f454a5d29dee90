"""What workers found out about bundles, told to every other process through Redis.

A verdict holds for the very files it was found on, and for as long as some worker stands by it.
Workers of one queue are taken to be alike: what runs in one runs in all.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import structlog
from redis import Redis
from redis.exceptions import RedisError

from shared import keys
from shared.bundles import Bundle

log = structlog.get_logger()

T = TypeVar("T")

#: A verdict that no worker repeats is forgotten after this time (seconds).
VERDICT_TTL_S = 3600
#: While one worker tries a bundle, the others leave it alone, this long at most (seconds).
CLAIM_S = 60
#: A bundle that ended so many workers while they loaded it is broken.
MAX_DEATHS = 2


class Verdicts:
    """One worker's verdicts, and those of the others.

    Redis being away is no reason not to serve: what this worker found itself stands without it.
    """

    def __init__(self, redis: Redis, worker_id: str) -> None:
        self._redis = redis
        self._worker_id = worker_id
        self._own: dict[str, str] = {}

    def read(self, bundles: Sequence[Bundle]) -> dict[str, str]:
        """Return what is known of ``bundles``, by their keys: ``""``, or what is wrong."""
        unknown = [bundle.key for bundle in bundles if bundle.card and bundle.key not in self._own]
        told: Any = []
        if unknown:
            names = [keys.VERDICT + key for key in unknown]
            told = self._ask(lambda: self._redis.mget(names), None) or []
        found = {
            key: verdict.decode()
            for key, verdict in zip(unknown, told, strict=False)
            if verdict is not None
        }
        return {**found, **self._own}

    def tell(self, bundle: Bundle, problem: str = "") -> None:
        """Say that ``bundle`` runs, or what its ``problem`` is."""
        self._own[bundle.key] = problem

        def send() -> None:
            with self._redis.pipeline() as pipe:
                pipe.set(keys.VERDICT + bundle.key, problem, ex=VERDICT_TTL_S)
                pipe.delete(keys.PROVING + bundle.key)
                pipe.execute()

        self._ask(send, None)

    def repeat(self, bundles: Sequence[Bundle]) -> None:
        """Stand by the verdicts on what still lies there, and forget all others."""
        present = {bundle.key for bundle in bundles}
        self._own = {key: verdict for key, verdict in self._own.items() if key in present}

        def send() -> None:
            with self._redis.pipeline(transaction=False) as pipe:
                for key, verdict in self._own.items():
                    pipe.set(keys.VERDICT + key, verdict, ex=VERDICT_TTL_S)
                pipe.execute()

        self._ask(send, None)

    def claim(self, bundle: Bundle) -> bool:
        """Tell whether this worker is the one to try ``bundle``; its verdict ends the claim."""
        return bool(
            self._ask(
                lambda: self._redis.set(
                    keys.PROVING + bundle.key, self._worker_id, nx=True, ex=CLAIM_S
                ),
                None,
            )
        )

    def is_own(self, bundle: Bundle) -> bool:
        """Tell whether this worker itself knows how ``bundle`` fares."""
        return bundle.key in self._own

    def deaths(self, bundle: Bundle) -> int:
        """Return how many workers died while they loaded ``bundle``."""
        count: Any = self._ask(lambda: self._redis.get(keys.LOADING_DEATHS + bundle.key), None)
        return int(count or 0)

    @contextmanager
    def loading(self, bundle: Bundle) -> Iterator[None]:
        """Have the watchdog count a death within this block against ``bundle``."""
        self._ask(lambda: self._redis.hset(keys.LOADING, self._worker_id, bundle.key), None)
        try:
            yield
        finally:
            self._ask(lambda: self._redis.hdel(keys.LOADING, self._worker_id), None)

    def _ask(self, question: Callable[[], T], otherwise: T) -> T:
        try:
            return question()
        except RedisError as error:
            log.warning("verdicts unreachable", error=type(error).__name__)
            return otherwise
