"""The network between the parts and Redis."""

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.faults.jobs import Jobs
from benchmarks.faults.service import FaultedService
from benchmarks.faults.stages import Target


@contextmanager
def workers_cut_off(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """Workers cannot reach Redis: every connection is reset."""
    with service.worker_link.cut():
        yield


@contextmanager
def api_cut_off(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """The API cannot reach Redis: every connection is reset."""
    with service.api_link.cut():
        yield


@contextmanager
def all_cut_off(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """Nothing can reach Redis."""
    with service.worker_link.cut(), service.api_link.cut():
        yield


@contextmanager
def all_silent(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """The network drops everything to and from Redis without closing a connection."""
    with service.worker_link.silent(), service.api_link.silent():
        yield


@contextmanager
def workers_silent(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """The network drops what workers and Redis send each other."""
    with service.worker_link.silent():
        yield


@contextmanager
def half_closed(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """Redis's side of every connection is closed; the other side can still write."""
    with service.worker_link.half_closed(), service.api_link.half_closed():
        yield


@contextmanager
def connections_reset(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """Every connection to Redis is reset once; new ones are accepted."""
    for link in service.links:
        link.drop()
    yield


@contextmanager
def network_slow(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """The network to Redis delays everything by 150 ms each way."""
    with service.worker_link.slow(0.15), service.api_link.slow(0.15):
        yield
