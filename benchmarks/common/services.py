"""The services that are measured: VoxelQ, and peers built from stock parts."""

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import httpx
import psutil
from redis import Redis

from benchmarks.common.core_time import Parts
from benchmarks.common.processes import python_process, temporary_folder
from benchmarks.common.redis_server import embedded_redis
from benchmarks.common.service_state import count_workers
from voxelq.local.valkey import free_port

_START_S = 180.0


@dataclass(frozen=True)
class Service:
    """A running service at ``base``; ``parts`` are its processes by name.

    Scans are POSTed to ``predict_url``. ``arithmetic`` is how the network computes, if the service
    reports it.
    """

    base: str
    parts: Parts
    arithmetic: str | None = None
    query: str = ""

    @property
    def predict_url(self) -> str:
        """Where a client submits a scan and waits for its result."""
        return f"{self.base}/predict{self.query}"


@contextmanager
def voxelq(workers: int, **settings: str) -> Iterator[Service]:
    """Run ``voxelq up`` as a user does, with this environment's settings and the given ones."""
    with temporary_folder() as folder:
        port = free_port()
        command = ["-m", "voxelq", "up", "--port", str(port), "--workers", str(workers)]
        command += ["--data-dir", str(folder / "data")]
        with python_process(command, folder / "up.log", settings) as up:
            base = f"http://127.0.0.1:{port}"
            await_workers(base, workers, [up])
            parts: dict[str, list[psutil.Process]] = {"supervisor": [psutil.Process(up.pid)]}
            for child in psutil.Process(up.pid).children():
                parts.setdefault(part_of(child.cmdline()), []).append(child)
            worker = httpx.get(f"{base}/queue", trust_env=False).json()["workers"][0]
            yield Service(base, parts, f"{worker['precision']}, {worker['memory_format']}")


@contextmanager
def fastapi_threads() -> Iterator[Service]:
    """Run FastAPI that calls the model in its threads; scans need the query ``?threads=``."""
    with temporary_folder() as folder:
        port, settings = free_port(), {"PEER_FOLDER": str(folder)}
        command = ["-m", "benchmarks.common.peers", "threads", "--port", str(port)]
        with python_process(command, folder / "api.log", settings) as api:
            base = f"http://127.0.0.1:{port}"
            await_workers(base, 1, [api])
            yield Service(base, {"api": [psutil.Process(api.pid)]})


@contextmanager
def fastapi_rq(workers: int) -> Iterator[Service]:
    """Run FastAPI and stock RQ workers; scans need the query ``?threads=``."""
    with temporary_folder() as folder, embedded_redis() as redis_url, ExitStack() as stack:
        port = free_port()
        settings = {"PEER_FOLDER": str(folder), "REDIS_URL": redis_url}
        commands = [["rq", "--port", str(port)], *[["worker"]] * workers]
        processes = [
            stack.enter_context(
                python_process(
                    ["-m", "benchmarks.common.peers", *command], folder / f"{number}.log", settings
                )
            )
            for number, command in enumerate(commands)
        ]
        base = f"http://127.0.0.1:{port}"
        await_workers(base, workers, processes)
        with Redis.from_url(redis_url) as redis:
            redis_pid = int(redis.info("server")["process_id"])
        api, *peers = (psutil.Process(process.pid) for process in processes)
        parts = {"redis": [psutil.Process(redis_pid)], "api": [api], "worker": peers}
        yield Service(base, parts)


def await_workers(base: str, workers: int, processes: Sequence[subprocess.Popen[str]]) -> None:
    """Return once so many workers listen.

    Raises:
        RuntimeError: One of the service's ``processes`` ended before.
        TimeoutError: It took too long.
    """
    deadline = time.monotonic() + _START_S
    while count_workers(base) < workers:
        if any(process.poll() is not None for process in processes):
            raise RuntimeError("a process of the service ended before it was ready; see above")
        if time.monotonic() > deadline:
            raise TimeoutError("the service did not become ready")
        time.sleep(0.1)


def part_of(command: Sequence[str]) -> str:
    """Return which part of the local stack a process is, by its command line."""
    return next((name for name in ("api", "worker") if name in command), "redis")
