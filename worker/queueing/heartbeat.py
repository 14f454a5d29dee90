"""The thread that renews a worker's leases and reaps expired leases of other workers."""

import threading
from collections.abc import Callable, Iterable, Mapping

import structlog

from shared.queue.worker_metrics import sum_counts
from shared.supervised_thread import SupervisedThread
from worker.pipeline.outcomes import LeasedJob
from worker.queueing.leases import Leases, WorkerFacts

log = structlog.get_logger()

#: The key of a lease in the scripts: job, execution and queue.
Lease = tuple[str, str, str]


class Heartbeat(SupervisedThread):
    """Every ``interval_s`` seconds: extend the held leases, then reap expired ones.

    It shares the held leases and the worker's facts with the lanes, under one lock.
    ``take_metrics`` returns what the worker counted since its last call. Leases are identified by
    their execution, because a worker may draw a job again that it lost before.
    """

    def __init__(
        self,
        leases: Leases,
        facts: WorkerFacts,
        interval_s: float,
        take_metrics: Callable[[], Mapping[str, float]],
    ) -> None:
        super().__init__("heartbeat", self.beat, interval_s)
        self._leases = leases
        self._take_metrics = take_metrics
        self._unsent_metrics: dict[str, float] = {}
        self._lock = threading.Lock()
        self._facts = facts
        self._held: dict[Lease, LeasedJob] = {}
        self._lost: set[Lease] = set()

    @property
    def facts(self) -> WorkerFacts:
        """The facts that the next beat publishes."""
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
        """Renew these leases no longer."""
        with self._lock:
            for job in jobs:
                self._held.pop(job.lease, None)
                self._lost.discard(job.lease)

    def show(self, facts: WorkerFacts) -> None:
        """Publish these facts from the next beat on."""
        with self._lock:
            self._facts = facts

    def is_lost(self, job: LeasedJob) -> bool:
        """Tell whether the job was cancelled or reaped, so that its outcome would be dropped."""
        with self._lock:
            return job.lease in self._lost

    def beat(self) -> None:
        """Extend and reap once; on a RedisError the metrics are kept for the next beat."""
        self._unsent_metrics = sum_counts([self._unsent_metrics, self._take_metrics()])
        held, facts = self.held, self.facts
        lost = self._leases.extend(held, facts, self._unsent_metrics)
        self._unsent_metrics = {}
        with self._lock:
            self._lost |= {job.lease for job in lost} & self._held.keys()
        reaped = self._leases.reap()
        if reaped:
            log.info("leases_reaped", count=reaped)
