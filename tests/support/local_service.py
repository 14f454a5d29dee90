"""`voxelq up` as a user runs it: a process of its own, on a free port, in a folder of the test."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from voxelq import Client
from voxelq.local.valkey import free_port

ROOT = Path(__file__).resolve().parents[2]
VOXELQ = [sys.executable, "-m", "voxelq"]
#: Far above the time of any step, so that no test fails on a slow machine.
BOUND_S = 120.0


def environment(**variables: str) -> dict[str, str]:
    """Return this environment without a service's settings, and with the given ones."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if name != "REDIS_URL" and not name.startswith("VOXELQ_")
    }
    return {**clean, "PYTHONPATH": str(ROOT), **variables}


def until(condition: Callable[[], bool], what: str) -> None:
    """Return once ``condition`` holds; fail the test after `BOUND_S`."""
    deadline = time.monotonic() + BOUND_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {BOUND_S:.0f} s: {what}")
        time.sleep(0.05)


@dataclass
class LocalService:
    """A running stack; ``ever`` holds every process that was seen in it."""

    url: str
    data_dir: Path
    process: subprocess.Popen[str]
    ever: list[psutil.Process]

    def part(self, words: str) -> list[psutil.Process]:
        """Return the running children that have ``words`` in their command line."""
        found = []
        for child in psutil.Process(self.process.pid).children():
            try:
                if words in " ".join(child.cmdline()):
                    found.append(child)
            except psutil.NoSuchProcess:
                continue
        return found

    def note_processes(self) -> None:
        """Record all processes of the stack, to check later that they have ended."""
        self.ever += psutil.Process(self.process.pid).children(recursive=True)

    def survivors(self) -> list[psutil.Process]:
        """Return the recorded processes that still run."""
        return [
            process
            for process in self.ever
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        ]

    def is_ready(self) -> bool:
        """Return whether the service answers and a worker listens; fail if it has ended."""
        assert self.process.poll() is None, self.words()
        try:
            answer = httpx.get(f"{self.url}/readyz", trust_env=False)
        except httpx.HTTPError:
            return False
        return answer.status_code == httpx.codes.OK

    def client(self) -> Client:
        """Return a client of this service."""
        return Client(self.url)

    def words(self) -> str:
        """Return its output so far."""
        return (self.data_dir.parent / "terminal.txt").read_text(encoding="utf-8")


@contextmanager
def local_service(data_dir: Path, *options: str, **variables: str) -> Iterator[LocalService]:
    """Start a stack on ``data_dir``, wait until it is ready, and stop it at the end."""
    port = free_port()
    command = [*VOXELQ, "up", "--port", str(port), "--data-dir", str(data_dir), *options]
    with (data_dir.parent / "terminal.txt").open("a") as terminal:
        process = subprocess.Popen(
            command, stdout=terminal, stderr=terminal, text=True, env=environment(**variables)
        )
    service = LocalService(f"http://127.0.0.1:{port}", data_dir, process, [])
    try:
        until(service.is_ready, "the service was ready")
        service.note_processes()
        yield service
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(BOUND_S)
