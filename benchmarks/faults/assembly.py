"""Starts a service that faults can be injected into, and stops all of it again."""

import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import redis as redis_py
from redis import Redis

from benchmarks.common.processes import ROOT
from benchmarks.common.waiting import wait_until
from benchmarks.faults.clock import Clock
from benchmarks.faults.disk_faults import DiskFaults, compile_library
from benchmarks.faults.disks import mounted
from benchmarks.faults.link import Link
from benchmarks.faults.models import write_models
from benchmarks.faults.parts import Part
from benchmarks.faults.service import MARK, START_S, FaultedService, Kind, Server, keep_roles
from shared.queue.watchdog import REPORT_TIMEOUT_S
from voxelq.local.valkey import EmbeddedServer, free_port

STORE_BYTES, QUEUE_BYTES = 96 << 20, 128 << 20


@contextmanager
def faulted_service(folder: Path, kind: Kind) -> Iterator[FaultedService]:
    """Run a service of this kind in ``folder`` and yield it once it is ready.

    Raises:
        MountNotPermitted: This process may not mount the small disks.
        FaketimeMissing: The kind needs a clock that can be stepped.
        ServiceLeftBehind: Processes of the service are still running after its end.
    """
    with ExitStack() as stack:
        service = _assemble(folder, kind, stack)
        try:
            yield service
        finally:
            for part in service.parts:
                part.stop()
        # a watchdog runs longer than its worker, because it reports the crash to Redis
        deadline = time.monotonic() + 2 * REPORT_TIMEOUT_S
        while (left := service.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
    if left:
        raise ServiceLeftBehind(f"processes of the service are still running: {left}")


class ServiceLeftBehind(Exception):
    """A process of the service was still running after all parts had been stopped."""


def _assemble(folder: Path, kind: Kind, stack: ExitStack) -> FaultedService:
    for name in ("models", "logs", "tmp"):
        (folder / name).mkdir(parents=True)
    stack.enter_context(mounted(folder / "store", STORE_BYTES))
    stack.enter_context(mounted(folder / "redis", QUEUE_BYTES))
    write_models(folder / "models")
    library = compile_library(folder)
    mark = secrets.token_hex(8)
    common = _environment(folder, kind, mark)
    clock = Clock(folder / "clock") if kind.clock else None
    clocked = {**common, **(clock.environment if clock else {})}
    servers = [_server(folder, "redis-1", clocked)]
    if kind.replica:
        servers.append(_server(folder, "redis-2", clocked))
    for server in servers:
        stack.callback(server.redis.close)
        server.part.start()
        _await_server(server.redis)
    if kind.replica:
        _replicate(servers)
    links = []
    for _ in range(2):
        links.append(Link(servers[0].address))
        stack.callback(links[-1].close)
    password = servers[0].redis.connection_pool.connection_kwargs["password"]
    disks, environments = [], []
    for name, link in zip(("api", "worker"), links, strict=True):
        disk = DiskFaults(library, folder / f"{name}.rules")
        disks.append(disk)
        redis_url = f"redis://:{password}@127.0.0.1:{link.port}/0"
        environments.append({**common, **disk.environment, "REDIS_URL": redis_url})
    port, python = free_port(), [sys.executable, "-m"]
    url = f"http://127.0.0.1:{port}"
    logs = folder / "logs"
    api = Part("api", [*python, "api", "--port", str(port)], logs / "api.log", environments[0])
    workers = [
        Part(f"worker-{number}", [*python, "worker"], logs / f"worker-{number}.log",
             environments[1])
        for number in range(1, kind.workers + 1)
    ]  # fmt: skip
    service = FaultedService(
        kind=kind, folder=folder, url=url, mark=mark, api=api,
        workers=workers, servers=servers, api_link=links[0], worker_link=links[1],
        api_disk=disks[0], worker_disk=disks[1], clock=clock,
        operator_environment={
            **common, "VOXELQ_URL": url, "REDIS_URL": environments[1]["REDIS_URL"]
        },
    )  # fmt: skip
    for part in (api, *workers):
        part.start()
    try:
        service.wait_until_ready(START_S)
    except TimeoutError:
        for part in service.parts:
            part.stop(1)
        raise
    return service


def _environment(folder: Path, kind: Kind, mark: str) -> dict[str, str]:
    clean = {
        name: value
        for name, value in os.environ.items()
        if name not in ("REDIS_URL", "LD_PRELOAD") and not name.startswith("VOXELQ_")
    }
    return clean | kind.settings_by_name | {
        "PYTHONPATH": str(ROOT),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(folder / "tmp"),
        "VOXELQ_STORE_URL": f"file://{folder / 'store' / 'data'}",
        "VOXELQ_MODELS_DIR": str(folder / "models"),
        MARK: mark,
    }  # fmt: skip


def _server(folder: Path, name: str, environment: dict[str, str]) -> Server:
    embedded = EmbeddedServer(folder / "redis" / name)
    # the append-only file stays small on its small disk
    command = [*embedded.prepare(), "--auto-aof-rewrite-min-size", "8mb"]
    part = Part(name, command, folder / "logs" / f"{name}.log", environment)
    address = urlsplit(embedded.url)
    assert address.port is not None
    client = Redis.from_url(embedded.url, socket_timeout=5)
    return Server(part, client, ("127.0.0.1", address.port))


def _await_server(redis: Redis) -> None:
    def responds() -> bool:
        try:
            return bool(redis.ping())
        except redis_py.RedisError:
            return False

    wait_until(responds, "Redis did not start", bound_s=START_S)


def _replicate(servers: list[Server]) -> None:
    """Have the second server follow the first, under one password."""
    first, second = servers
    password = first.redis.connection_pool.connection_kwargs["password"]
    second.redis.config_set("requirepass", password)
    second.redis.close()
    second.redis = Redis(*second.address, password=password, socket_timeout=5)
    for server in servers:
        server.redis.config_set("masterauth", password)
    second.redis.replicaof(*map(str, first.address))
    keep_roles(servers)
