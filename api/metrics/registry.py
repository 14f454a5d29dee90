"""Prometheus metrics: this process's calls, and the queue's and the workers' from Redis."""

from collections.abc import Iterator, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.exposition import generate_latest

from api.metrics.worker_counters import worker_lines
from shared.queue.state import QueueState

PREFIX = "voxelq_"

#: Stands for a route or a method that is none of the service's.
UNKNOWN = "unknown"

# They double the page and say nothing that Prometheus does not know by itself.
disable_created_metrics()  # type: ignore[no-untyped-call]

# From an answer out of memory to the longest blocked predict.
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

    def count_refused(self, status: int) -> None:
        """Count a call that was refused before it was whole, by its connection."""
        self.requests.labels(UNKNOWN, UNKNOWN, str(status)).inc()

    def render(self, state: QueueState | None) -> bytes:
        """Return all metrics as Prometheus text; ``state`` is ``None`` while Redis is away."""
        lines = [_gauge("redis_up", "Whether Redis answers.", {"": float(state is not None)})]
        if state is not None:
            lines += _queue_lines(state)
            lines += worker_lines(state.metrics, PREFIX)
        return generate_latest(self.registry) + "".join(lines).encode()


def _queue_lines(state: QueueState) -> Iterator[str]:
    jobs = {'{status="queued"}': state.queued, '{status="started"}': state.started}
    yield _gauge("jobs", "Jobs that are not terminal, by status.", jobs)
    yield _gauge("workers", "Workers whose heartbeat is fresh.", {"": len(state.workers)})
    yield _gauge(
        "oldest_queued_seconds", "Age of the oldest waiting job.", {"": state.oldest_queued_s}
    )
    waiting = {f'{{priority="{priority}"}}': float(n) for priority, n in state.waiting.items()}
    yield _gauge("waiting_jobs", "Jobs that no worker has drawn yet, by priority.", waiting)
    peaks = {
        f'{{worker="{worker.id}",device="{worker.device}"}}': float(worker.peak_memory_bytes)
        for worker in state.workers
        if worker.peak_memory_bytes is not None
    }
    yield _gauge(
        "worker_peak_memory_bytes",
        "The most memory a worker held since it was last idle: resident, or on its GPU.",
        peaks,
    )
    if state.seconds_per_scan is not None:
        yield _gauge("scan_seconds", "What a scan costs lately.", {"": state.seconds_per_scan})
    if state.eta_s is not None:
        yield _gauge("eta_seconds", "Estimated wait of a job submitted now.", {"": state.eta_s})


def _gauge(name: str, description: str, samples: Mapping[str, float]) -> str:
    head = f"# HELP {PREFIX}{name} {description}\n# TYPE {PREFIX}{name} gauge\n"
    return head + "".join(
        f"{PREFIX}{name}{labels} {value!r}\n" for labels, value in samples.items()
    )
