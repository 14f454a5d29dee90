"""Redis dies, pauses, fails over, loses its data, its memory or its disk, and its clock jumps."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import redis as redis_py

from benchmarks.faults import disks
from benchmarks.faults.injectors import Injector
from benchmarks.faults.jobs import Jobs
from benchmarks.faults.service import FaultedService, Server, keep_roles
from benchmarks.faults.stages import Target

_REDIS_LOADS_S = 15.0


@contextmanager
def redis_killed(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """Redis is killed and stays away."""
    yield from _redis_away(service, signal.SIGKILL)


@contextmanager
def redis_restarted(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """Redis is stopped as an operator stops it and stays away."""
    yield from _redis_away(service, signal.SIGTERM)


@contextmanager
def redis_paused(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """Redis stands still and then goes on."""
    server = service.servers[0].part
    server.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.signal(signal.SIGCONT)


@contextmanager
def redis_failed_over(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """The replica takes over: the old Redis refuses writes, and new connections reach the new."""
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
    """Everything in Redis is deleted at one blow; then an operator has it recovered."""
    jobs.forgotten = True
    service.redis.flushall()
    try:
        yield
    finally:
        service.run("client", "recover", "--adopt-all")
        jobs.forgotten = False


@contextmanager
def redis_out_of_memory(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """Redis has no memory for another write."""
    before = service.redis.config_get("maxmemory")["maxmemory"] or "0"
    service.redis.config_set("maxmemory", 1)
    try:
        yield
    finally:
        service.redis.config_set("maxmemory", before)


@contextmanager
def queue_disk_full(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """The disk of the append-only file has no byte left."""
    with disks.filled(service.queue_folder):
        yield


def clock_stepped(seconds: int) -> Injector:
    """Return the fault of a clock of Redis that jumps by so much, and stays so."""

    @contextmanager
    def stepped(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
        assert service.clock is not None
        service.clock_offset_s += seconds
        service.clock.step(service.clock_offset_s)
        yield

    return stepped


def _redis_away(service: FaultedService, number: signal.Signals) -> Iterator[None]:
    server = service.servers[0]
    server.part.hold()
    server.part.signal(number)
    try:
        yield
    finally:
        server.part.let_go()
        deadline = time.monotonic() + _REDIS_LOADS_S
        while time.monotonic() < deadline:
            try:
                server.redis.ping()
            except redis_py.RedisError:
                time.sleep(0.05)
            else:
                break


def _await_role(server: Server, is_so: Callable[[dict[str, Any]], bool]) -> None:
    deadline = time.monotonic() + _REDIS_LOADS_S
    while True:
        with suppress(redis_py.RedisError):
            if is_so(server.redis.info("replication")):
                return
        if time.monotonic() > deadline:
            raise TimeoutError("the replica did not take over")
        time.sleep(0.02)
