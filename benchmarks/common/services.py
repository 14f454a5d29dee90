"""The services that are measured, as processes of their own, and their end."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from redis import Redis

from benchmarks.common.core_time import Parts
from benchmarks.queue import server
from voxelq.local.valkey import free_port

ROOT = Path(__file__).resolve().parents[2]
_TETHER = ROOT / "voxelq" / "local" / "parent_death.py"
_START_S, _STOP_S = 180.0, 40.0
#: What names the service of a user's own, which a measured one must not touch.
_ELSEWHERE = {"REDIS_URL", "VOXELQ_STORE_URL", "VOXELQ_WORKERS"}


@dataclass(frozen=True)
class Service:
    """A running service: scans are POSTed to ``url``; ``parts`` are its processes by name.

    ``arithmetic`` is how the network computes, where the service tells.
    """

    url: str
    parts: Parts
    arithmetic: str | None = None


@contextmanager
def voxelq(workers: int, **settings: str) -> Iterator[Service]:
    """Run ``voxelq up`` as a user does, with this environment's settings and the given ones."""
    with temporary_folder() as folder:
        port = free_port()
        command = ["-m", "voxelq", "up", "--port", str(port), "--workers", str(workers)]
        command += ["--data-dir", str(folder / "data")]
        with child(command, folder / "up.log", settings) as up:
            base = f"http://127.0.0.1:{port}"
            await_ready(base, workers, [up])
            parts: dict[str, list[psutil.Process]] = {"supervisor": [psutil.Process(up.pid)]}
            for one in psutil.Process(up.pid).children():
                parts.setdefault(part_of(one.cmdline()), []).append(one)
            worker = httpx.get(f"{base}/queue", trust_env=False).json()["workers"][0]
            way = f"{worker['precision']}, {worker['memory_format']}"
            yield Service(f"{base}/predict", parts, way)


@contextmanager
def fastapi_threads() -> Iterator[Service]:
    """Run FastAPI that calls the model in its threads; scans want ``?threads=``."""
    with temporary_folder() as folder:
        port, settings = free_port(), {"PEER_FOLDER": str(folder)}
        command = ["-m", "benchmarks.common.peers", "threads", "--port", str(port)]
        with child(command, folder / "api.log", settings) as api:
            base = f"http://127.0.0.1:{port}"
            await_ready(base, 1, [api])
            yield Service(f"{base}/predict", {"api": [psutil.Process(api.pid)]})


@contextmanager
def fastapi_rq(workers: int) -> Iterator[Service]:
    """Run FastAPI and stock RQ workers; scans want ``?threads=``."""
    with temporary_folder() as folder, server() as redis_url, ExitStack() as stack:
        port = free_port()
        settings = {"PEER_FOLDER": str(folder), "REDIS_URL": redis_url}
        commands = [["rq", "--port", str(port)], *[["worker"]] * workers]
        api, *crew = (
            stack.enter_context(
                child(
                    ["-m", "benchmarks.common.peers", *command], folder / f"{number}.log", settings
                )
            )
            for number, command in enumerate(commands)
        )
        base = f"http://127.0.0.1:{port}"
        await_ready(base, workers, [api, *crew])
        with Redis.from_url(redis_url) as redis:
            redis_pid = int(redis.info("server")["process_id"])
        parts = {
            "redis": [psutil.Process(redis_pid)],
            "api": [psutil.Process(api.pid)],
            "worker": [psutil.Process(one.pid) for one in crew],
        }
        yield Service(f"{base}/predict", parts)


@contextmanager
def child(
    arguments: list[str],
    log: Path,
    settings: Mapping[str, str],
    pipes: int | None = subprocess.DEVNULL,
) -> Iterator[subprocess.Popen[str]]:
    """Run Python with ``arguments``; it ends with the block, and if this process is killed.

    ``pipes`` is what its input and output are. What it complains of goes to ``log``, and to
    standard error if the block fails.
    """
    env = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
    tether = [sys.executable, "-IS", str(_TETHER), str(os.getpid())]
    with log.open("w") as complaints:
        process = subprocess.Popen(
            [*tether, sys.executable, *arguments],
            stdin=pipes,
            stdout=pipes,
            stderr=complaints,
            cwd=ROOT,
            env={**env, "PYTHONPATH": str(ROOT), **settings},
            text=True,
        )
    try:
        yield process
    except Exception:
        sys.stderr.write(log.read_text(errors="replace"))
        raise
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def await_ready(base: str, workers: int, processes: list[subprocess.Popen[str]]) -> None:
    """Return once so many workers listen; both services and peers tell that at ``/queue``."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if any(process.poll() is not None for process in processes):
            raise RuntimeError("a process of the service ended before it was ready; see above")
        try:
            found = httpx.get(f"{base}/queue", trust_env=False, timeout=5).json()["workers"]
        except (httpx.HTTPError, ValueError, KeyError):
            found = 0
        if (found if isinstance(found, int) else len(found)) >= workers:
            return
        time.sleep(0.1)
    raise TimeoutError("the service did not come up")


def part_of(command: list[str]) -> str:
    """Return which part of the stack a child of the supervisor is, by its command line."""
    return next((name for name in ("api", "worker") if name in command), "redis")


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder that goes with the block."""
    with tempfile.TemporaryDirectory(prefix="voxelq-bench-") as name:
        yield Path(name)
