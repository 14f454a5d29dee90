"""The thread that keeps a worker's leases alive and looks after those of silent workers."""

import threading
from collections.abc import Callable, Iterable, Mapping

import structlog
from redis.exceptions import RedisError

from shared.worker_metrics import added
from worker.lease import Claim, Leases, WorkerFacts

log = structlog.get_logger()


class Heartbeat(threading.Thread):
    """Every ``interval_s`` seconds: extend what is held, then reap.

    It shares with the main thread what the worker holds and shows, under one lock. ``counted``
    returns what the worker counted since its last call.
    """

    def __init__(
        self,
        leases: Leases,
        facts: WorkerFacts,
        interval_s: float,
        counted: Callable[[], Mapping[str, float]],
    ) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._leases = leases
        self._interval_s = interval_s
        self._counted = counted
        self._untold: dict[str, float] = {}
        self._lock = threading.Lock()
        self._facts = facts
        self._held: dict[str, Claim] = {}
        self._lost: set[str] = set()
        self._stopping = threading.Event()

    @property
    def facts(self) -> WorkerFacts:
        """What the worker shows of itself just now."""
        with self._lock:
            return self._facts

    def hold(self, claims: Iterable[Claim]) -> None:
        """Keep these leases alive from now on."""
        with self._lock:
            self._held |= {claim.id: claim for claim in claims}

    def release(self, claims: Iterable[Claim]) -> None:
        """Let go of these leases."""
        with self._lock:
            for claim in claims:
                self._held.pop(claim.id, None)
                self._lost.discard(claim.id)

    def show(self, facts: WorkerFacts) -> None:
        """Change what the worker shows of itself, from the next beat on."""
        with self._lock:
            self._facts = facts

    def is_lost(self, claim: Claim) -> bool:
        """Tell whether the job was cancelled or taken away, so that work on it is in vain."""
        with self._lock:
            return claim.id in self._lost

    def beat(self) -> None:
        """Extend and reap once; raises RedisError, and keeps what was counted until the next."""
        self._untold = added([self._untold, self._counted()])
        with self._lock:
            held, facts = list(self._held.values()), self._facts
        lost = self._leases.extend(held, facts, self._untold)
        self._untold = {}
        with self._lock:
            self._lost |= lost & self._held.keys()
        taken = self._leases.reap()
        if taken:
            log.info("leases reaped", count=taken)

    def run(self) -> None:
        """Beat until told to stop; Redis being away is not a reason to."""
        while not self._stopping.is_set():
            try:
                self.beat()
            except RedisError as error:
                log.warning("heartbeat failed", error=type(error).__name__)
            self._stopping.wait(self._interval_s)

    def stop(self) -> None:
        """Stop beating, and wait for the last beat to end."""
        self._stopping.set()
        self.join()
