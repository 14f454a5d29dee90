"""Prometheus metrics: this process's calls, and the queue's and the workers' from Redis."""

from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from api.metrics.worker_counters import worker_families
from shared.queue.state import QueueState

PREFIX = "voxelq_"

#: The label of a route or a method that the service does not have.
UNKNOWN = "unknown"

# They double the page, and Prometheus knows by itself when a series started.
disable_created_metrics()  # type: ignore[no-untyped-call]

# From a call that needs no other system to the longest blocked predict.
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """The counters of one API process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            PREFIX + "http_requests",
            "Calls answered, by route.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.duration_s = Histogram(
            PREFIX + "http_request_duration_seconds",
            "From the first byte of a call to the last of its answer; blocking included.",
            ("method", "route"),
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self.blocked_clients = Gauge(
            PREFIX + "http_blocked_clients",
            "Clients that wait for a job in this process.",
            registry=self.registry,
        )
        self.following_clients = Gauge(
            PREFIX + "http_following_clients",
            "Clients that follow a job's events in this process.",
            registry=self.registry,
        )
        self.upload_bytes = Counter(
            PREFIX + "upload_bytes", "Bytes of scans taken in.", registry=self.registry
        )
        self._queue_collector = QueueCollector()
        self.registry.register(self._queue_collector)

    def count_refused(self, status: int) -> None:
        """Count a call that its connection refused before its headers were complete."""
        self.requests.labels(UNKNOWN, UNKNOWN, str(status)).inc()

    def render(self, state: QueueState | None) -> bytes:
        """Return all metrics as Prometheus text; ``state`` is ``None`` while Redis is away."""
        self._queue_collector.state = state
        return generate_latest(self.registry)


class QueueCollector(Collector):
    """The queue's state and the workers' counters, as they were read for this page."""

    def __init__(self) -> None:
        self.state: QueueState | None = None

    def collect(self) -> Iterator[Metric]:
        """Yield a family for each fact of the queue, and those of the workers."""
        yield _gauge("redis_up", "Whether Redis answers.", self.state is not None)
        if self.state is not None:
            yield from _queue_families(self.state)
            yield from worker_families(self.state.metrics, PREFIX)


def _queue_families(state: QueueState) -> Iterator[Metric]:
    jobs = GaugeMetricFamily(
        PREFIX + "jobs", "Jobs that are not terminal, by status.", labels=["status"]
    )
    jobs.add_metric(["queued"], state.queued)
    jobs.add_metric(["started"], state.started)
    yield jobs
    yield _gauge("workers", "Workers whose heartbeat is fresh.", len(state.workers))
    yield _gauge("oldest_queued_seconds", "Age of the oldest waiting job.", state.oldest_queued_s)
    waiting = GaugeMetricFamily(
        PREFIX + "waiting_jobs",
        "Jobs that no worker has drawn yet, by priority.",
        labels=["priority"],
    )
    for priority, count in state.waiting.items():
        waiting.add_metric([priority], count)
    yield waiting
    peaks = GaugeMetricFamily(
        PREFIX + "worker_peak_memory_bytes",
        "The most memory a worker held since it was last idle: resident, or on its GPU.",
        labels=["worker", "device"],
    )
    for worker in state.workers:
        if worker.peak_memory_bytes is not None:
            peaks.add_metric([worker.id, worker.device], worker.peak_memory_bytes)
    yield peaks
    if state.seconds_per_scan is not None:
        yield _gauge("scan_seconds", "What a scan costs lately.", state.seconds_per_scan)
    if state.eta_s is not None:
        yield _gauge("eta_seconds", "Estimated wait of a job submitted now.", state.eta_s)


def _gauge(name: str, description: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, description, value=value)
