"""A whole service of real processes that faults are injected into.

::

    clients ─▶ API ─▶ link ─▶ Redis (and its replica)
               worker… ─▶ link ─▶ ┘        API and workers share a store and a folder of models

Every part is started again when it dies. Links can be cut; store and append-only file are on small
disks of their own; file calls of API and workers can be made to fail; the clock of Redis can be
stepped.
"""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
from redis import Redis

from benchmarks.common.service_state import is_ok
from benchmarks.common.waiting import wait_until
from benchmarks.faults.clock import Clock
from benchmarks.faults.disk_faults import DiskFaults
from benchmarks.faults.link import Link
from benchmarks.faults.models import QUICK
from benchmarks.faults.parts import Part

START_S = 90.0
#: A variable in the environment of every process of a service, by which they are found.
MARK = "VOXELQ_FAULTS_MARK"


@dataclass(frozen=True)
class Kind:
    """The options of a service; rows of the table with the same kind may share a service."""

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
    """A Redis of the service, its process, and a client that does not use the links."""

    part: Part
    redis: Redis
    address: tuple[str, int]


@dataclass
class FaultedService:
    """A running service. The first of ``servers`` is the primary."""

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
    #: Ids of jobs that faults put into the queue without the API.
    foreign: set[str] = field(default_factory=set)

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
        """The folder of temporary files of all parts."""
        return self.folder / "tmp"

    @property
    def redis(self) -> Redis:
        """A client of the primary Redis that does not use the links."""
        return self.servers[0].redis

    @property
    def links(self) -> list[Link]:
        """Every link to Redis."""
        return [self.api_link, self.worker_link]

    @property
    def parts(self) -> list[Part]:
        """Every process that is kept running."""
        return [self.api, *self.workers, *(server.part for server in self.servers)]

    def client(self, timeout_s: float = 15.0) -> httpx.Client:
        """Return a client of the API."""
        return httpx.Client(base_url=self.url, timeout=timeout_s, trust_env=False)

    def is_ready(self) -> bool:
        """Return whether ``/readyz`` answers 200."""
        return is_ok(f"{self.url}/readyz")

    def wait_until_ready(self, bound_s: float) -> None:
        """Return once ``/readyz`` answers 200; raises TimeoutError after ``bound_s``."""
        wait_until(self.is_ready, "the service did not become ready", bound_s=bound_s)

    def run(self, *arguments: str) -> None:
        """Run a command of VoxelQ on this service, as an operator does, until it ends.

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
        return next((part for part in self.workers if f"-{part.pid}-" in worker_id), None)

    def processes(self) -> dict[int, list[str]]:
        """Return the command line of every running process of this service, by pid."""
        commands = {}
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark:
                    commands[process.pid] = process.cmdline()
            except (psutil.Error, OSError):
                continue  # it has ended, or belongs to another user
        return commands


def keep_roles(servers: list[Server]) -> None:
    """Write each server's present role to its configuration, so that a restart keeps it."""
    for server in servers:
        server.redis.config_rewrite()
