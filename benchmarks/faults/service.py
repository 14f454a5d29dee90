"""A whole service of real processes that faults are injected into.

::

    clients ─▶ API ─▶ link ─▶ Redis (and its replica)
               worker… ─▶ link ─▶ ┘        API and workers share a store and a folder of models

Every part is started again when it dies. Links can be cut; store and append-only file lie on small
disks of their own; the file calls of API and workers obey rules; the clock of Redis can be stepped.
"""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import redis as redis_py
from redis import Redis

from benchmarks.faults.clock import Clock
from benchmarks.faults.disk_faults import DiskFaults, compile_library
from benchmarks.faults.disks import mounted
from benchmarks.faults.link import Link
from benchmarks.faults.models import QUICK, write_models
from benchmarks.faults.parts import ROOT, Part
from shared.watchdog import REPORT_TIMEOUT_S
from voxelq.local.valkey import EmbeddedServer, free_port

STORE_BYTES, QUEUE_BYTES = 96 << 20, 128 << 20
START_S = 90.0
#: In the environment of every process of a service, so that those left behind are found.
MARK = "VOXELQ_FAULTS_MARK"


@dataclass(frozen=True)
class Kind:
    """What sets one service apart from another; rows of one kind may share a service."""

    workers: int = 1
    default_model: str = QUICK
    clock: bool = False
    replica: bool = False
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def settings_by_name(self) -> dict[str, str]:
        """The settings of API and workers."""
        return {
            "VOXELQ_DEFAULT_MODEL": self.default_model,
            "VOXELQ_LEASE_S": "2",
            "VOXELQ_JOB_TIMEOUT_S": "20",
            "VOXELQ_LOAD_TIMEOUT_S": "20",
            "VOXELQ_DRAIN_S": "4",
            "VOXELQ_THREADS": "1",
            "VOXELQ_PRECISION": "fp32",
            "VOXELQ_DECOMPRESSED_BYTES": str(8 << 20),
            "VOXELQ_MODELS_LOADED": "2",
            **dict(self.settings),
        }


@dataclass
class Server:
    """A Redis of the service, its process, and a client that goes past the links."""

    part: Part
    redis: Redis
    address: tuple[str, int]


@dataclass
class FaultedService:
    """A running service. ``servers`` has the Redis that takes writes first."""

    kind: Kind
    folder: Path
    url: str
    mark: str
    api: Part
    workers: list[Part]
    servers: list[Server]
    api_link: Link
    worker_link: Link
    api_disk: DiskFaults
    worker_disk: DiskFaults
    operator_environment: dict[str, str]
    clock: Clock | None = None
    clock_offset_s: int = 0
    #: Ids of jobs that faults put into the queue, past the API.
    strange: set[str] = field(default_factory=set)

    @property
    def store(self) -> Path:
        """The folder of scans and masks."""
        return self.folder / "store" / "data"

    @property
    def models(self) -> Path:
        """The folder of bundles."""
        return self.folder / "models"

    @property
    def queue_folder(self) -> Path:
        """The folder of the append-only files."""
        return self.folder / "redis"

    @property
    def temporary(self) -> Path:
        """What the parts have for a folder of temporary files."""
        return self.folder / "tmp"

    @property
    def redis(self) -> Redis:
        """A client of the Redis that takes writes, past all links."""
        return self.servers[0].redis

    @property
    def links(self) -> list[Link]:
        """Every way to Redis."""
        return [self.api_link, self.worker_link]

    @property
    def parts(self) -> list[Part]:
        """Every process that is kept running."""
        return [self.api, *self.workers, *(server.part for server in self.servers)]

    def client(self, timeout_s: float = 15.0) -> httpx.Client:
        """Return a client of the API."""
        return httpx.Client(base_url=self.url, timeout=timeout_s, trust_env=False)

    def is_ready(self) -> bool:
        """Return whether ``/readyz`` says so."""
        try:
            with self.client(5.0) as client:
                return client.get("/readyz").status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def wait_until_ready(self, bound_s: float) -> None:
        """Return once ``/readyz`` says so.

        Raises:
            TimeoutError: It did not in time.
        """
        deadline = time.monotonic() + bound_s
        while not self.is_ready():
            if time.monotonic() > deadline:
                raise TimeoutError("the service did not become ready")
            time.sleep(0.05)

    def run(self, *arguments: str) -> None:
        """Run one of VoxelQ's commands on this service as an operator does, to its end.

        Raises:
            RuntimeError: It failed.
        """
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            env=self.operator_environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=START_S,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr}")

    def worker_named(self, worker_id: str) -> Part | None:
        """Return the part whose process has this id in the queue, if it still runs."""
        return next((one for one in self.workers if f"-{one.pid}-" in worker_id), None)

    def processes(self) -> dict[int, list[str]]:
        """Return every process that this service has started and that runs, by pid."""
        found = {}
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark:
                    found[process.pid] = process.cmdline()
            except (psutil.Error, OSError):
                continue  # gone meanwhile, or another user's
        return found


@contextmanager
def faulted_service(folder: Path, kind: Kind) -> Iterator[FaultedService]:
    """Run a service of this kind in ``folder`` and yield it once it is ready.

    Raises:
        MountNotPermitted: This process may not mount the small disks.
        FaketimeMissing: The kind asks for a clock that can be stepped.
        ServiceLeftBehind: Processes of the service outlived it.
    """
    with ExitStack() as stack:
        service = _assemble(folder, kind, stack)
        try:
            yield service
        finally:
            for part in [service.api, *service.workers, *(one.part for one in service.servers)]:
                part.stop()
        # a watchdog outlives its worker for as long as it tells Redis of the death
        deadline = time.monotonic() + 2 * REPORT_TIMEOUT_S
        while (left := service.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
    if left:
        raise ServiceLeftBehind(f"these outlived the service: {left}")


class ServiceLeftBehind(Exception):
    """A process of the service was still there when all of it had ended."""


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
    deadline = time.monotonic() + START_S
    while True:
        try:
            redis.ping()
        except redis_py.RedisError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


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


def keep_roles(servers: list[Server]) -> None:
    """Have each server begin again as what it is now, the primary or the replica."""
    for server in servers:
        server.redis.config_rewrite()
