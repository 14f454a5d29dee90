"""Redis dies, pauses, fails over, loses its data, its memory or its disk, and its clock jumps."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import redis as redis_py

from benchmarks.common.waiting import wait_until
from benchmarks.faults import disks
from benchmarks.faults.injectors import Injector
from benchmarks.faults.jobs import Jobs
from benchmarks.faults.service import FaultedService, Server, keep_roles
from benchmarks.faults.stages import Target

_REDIS_LOADS_S = 15.0


@contextmanager
def redis_killed(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """Redis is killed and not started again for a while."""
    yield from _redis_away(service, signal.SIGKILL)


@contextmanager
def redis_restarted(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """Redis is stopped by SIGTERM, as by an operator, and not started again for a while."""
    yield from _redis_away(service, signal.SIGTERM)


@contextmanager
def redis_paused(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """Redis is stopped by SIGSTOP and then continues."""
    server = service.servers[0].part
    server.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.signal(signal.SIGCONT)


@contextmanager
def redis_failed_over(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """The replica takes over: the old primary refuses writes, new connections reach the new one."""
    old, new = service.servers
    _await_role(new, lambda facts: facts.get("master_link_status") == "up")
    commands: Any = old.redis
    commands.execute_command("FAILOVER", "TIMEOUT", 10_000)
    _await_role(new, lambda facts: facts["role"] == "master")
    service.servers.reverse()
    for link in service.links:
        link.target = new.address
    _await_role(old, lambda facts: facts["role"] == "slave")
    keep_roles(service.servers)
    yield


@contextmanager
def redis_emptied(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """Everything in Redis is deleted; then an operator runs ``recover``."""
    jobs.lost_by_redis = True
    service.redis.flushall()
    try:
        yield
    finally:
        service.run("voxelq", "recover", "--adopt-all")
        jobs.lost_by_redis = False


@contextmanager
def redis_out_of_memory(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """Redis has no memory left for another write."""
    before = service.redis.config_get("maxmemory")["maxmemory"] or "0"
    service.redis.config_set("maxmemory", 1)
    try:
        yield
    finally:
        service.redis.config_set("maxmemory", before)


@contextmanager
def queue_disk_full(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """The disk of the append-only file is full."""
    with disks.filled(service.queue_folder):
        yield


def clock_stepped(seconds: int) -> Injector:
    """Return the fault of a clock of Redis that jumps by so many seconds and keeps the offset."""

    @contextmanager
    def stepped(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
        assert service.clock is not None
        service.clock_offset_s += seconds
        service.clock.step(service.clock_offset_s)
        yield

    return stepped


def _redis_away(service: FaultedService, number: signal.Signals) -> Iterator[None]:
    server = service.servers[0]
    server.part.stop_restarting()
    server.part.signal(number)
    try:
        yield
    finally:
        server.part.resume_restarting()
        with suppress(TimeoutError):  # the bound of the row counts from here
            wait_until(lambda: _responds(server), "", bound_s=_REDIS_LOADS_S)


def _responds(server: Server) -> bool:
    with suppress(redis_py.RedisError):
        return bool(server.redis.ping())
    return False


def _await_role(server: Server, has_role: Callable[[dict[str, Any]], bool]) -> None:
    def changed() -> bool:
        with suppress(redis_py.RedisError):
            return has_role(server.redis.info("replication"))
        return False

    wait_until(changed, "the replica did not take over", bound_s=_REDIS_LOADS_S, tick_s=0.02)
