"""The thread that keeps a worker's leases alive and looks after those of silent workers."""

import threading
from collections.abc import Callable, Iterable, Mapping

import structlog

from shared.queue.worker_metrics import added
from shared.supervised_thread import SupervisedThread
from worker.pipeline.outcomes import LeasedJob
from worker.queueing.leases import Leases, WorkerFacts

log = structlog.get_logger()

#: What the scripts know a lease by: job, execution and queue.
Lease = tuple[str, str, str]


class Heartbeat(SupervisedThread):
    """Every ``interval_s`` seconds: extend what is held, then reap.

    It shares with the lanes what the worker holds and shows, under one lock. ``counted`` returns
    what the worker counted since its last call. Leases are told apart by execution: a worker may
    hold a job again that it lost before.
    """

    def __init__(
        self,
        leases: Leases,
        facts: WorkerFacts,
        interval_s: float,
        counted: Callable[[], Mapping[str, float]],
    ) -> None:
        super().__init__("heartbeat", self.beat, interval_s)
        self._leases = leases
        self._counted = counted
        self._untold: dict[str, float] = {}
        self._lock = threading.Lock()
        self._facts = facts
        self._held: dict[Lease, LeasedJob] = {}
        self._lost: set[Lease] = set()

    @property
    def facts(self) -> WorkerFacts:
        """What the worker shows of itself just now."""
        with self._lock:
            return self._facts

    @property
    def held(self) -> list[LeasedJob]:
        """The jobs whose leases are kept alive."""
        with self._lock:
            return list(self._held.values())

    def hold(self, jobs: Iterable[LeasedJob]) -> None:
        """Keep these leases alive from now on."""
        with self._lock:
            self._held |= {job.lease: job for job in jobs}

    def release(self, jobs: Iterable[LeasedJob]) -> None:
        """Let go of these leases."""
        with self._lock:
            for job in jobs:
                self._held.pop(job.lease, None)
                self._lost.discard(job.lease)

    def show(self, facts: WorkerFacts) -> None:
        """Change what the worker shows of itself, from the next beat on."""
        with self._lock:
            self._facts = facts

    def is_lost(self, job: LeasedJob) -> bool:
        """Tell whether the job was cancelled or taken away, so that work on it is in vain."""
        with self._lock:
            return job.lease in self._lost

    def beat(self) -> None:
        """Extend and reap once; raises RedisError, and keeps what was counted until the next."""
        self._untold = added([self._untold, self._counted()])
        held, facts = self.held, self.facts
        lost = self._leases.extend(held, facts, self._untold)
        self._untold = {}
        with self._lock:
            self._lost |= {job.lease for job in lost} & self._held.keys()
        taken = self._leases.reap()
        if taken:
            log.info("leases_reaped", count=taken)
