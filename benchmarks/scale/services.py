"""The service under load: the local stack, containers, or one that is already running."""

import argparse
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

from benchmarks.common.core_time import Parts
from benchmarks.common.processes import ROOT
from benchmarks.common.services import await_workers, voxelq
from shared.settings import Settings
from voxelq.local.valkey import free_port

PROJECT = "voxelq-scale"
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True)
class Running:
    """A service at ``base``; ``parts`` are its processes, None if it runs on another machine."""

    base: str
    parts: Parts | None


#: Starts a service with so many workers and batches up to this size.
Start = Callable[[int, int], AbstractContextManager[Running]]


@contextmanager
def local_stack(workers: int, max_batch_size: int) -> Iterator[Running]:
    """Run ``voxelq up`` with this environment's settings."""
    with voxelq(workers, VOXELQ_MAX_BATCH_SIZE=str(max_batch_size)) as service:
        yield Running(service.base, service.parts)


@contextmanager
def compose(workers: int, max_batch_size: int) -> Iterator[Running]:
    """Run ``docker compose up --scale worker=N``, and remove all of it with its volumes.

    Raises:
        RuntimeError: The container engine is missing or failed; it has printed why.
    """
    port = free_port()
    env = os.environ | {
        "VOXELQ_PORT": str(port),
        "VOXELQ_BIND": "127.0.0.1",
        "VOXELQ_MAX_BATCH_SIZE": str(max_batch_size),
    }
    files = ["-f", "compose.yaml"]
    if device_name() != "cpu":
        files += ["-f", "compose.gpu.yaml"]

    def docker_compose(*arguments: str) -> None:
        command = ["docker", "compose", "-p", PROJECT, *files, *arguments]
        try:
            done = subprocess.run(command, cwd=ROOT, env=env, check=False)
        except FileNotFoundError as error:
            raise RuntimeError(
                "There is no container engine on this machine: no `docker`."
            ) from error
        if done.returncode:
            raise RuntimeError(f"`{' '.join(command)}` failed; see above.")

    try:
        docker_compose("up", "-d", "--build", "--scale", f"worker={workers}")
        base = f"http://127.0.0.1:{port}"
        await_workers(base, workers, [])
        yield Running(base, {})
    finally:
        docker_compose("down", "-v", "--remove-orphans", "--timeout", "30")


def device_name() -> str:
    """Return ``cpu``, or the name of the GPU that a service on this machine uses."""
    wanted = os.environ.get("VOXELQ_DEVICE", "auto")
    if wanted == "cpu":
        return "cpu"
    import torch  # takes seconds, and is not needed to measure a service elsewhere

    if not torch.cuda.is_available():
        return "cpu"
    index = int(wanted.partition(":")[2] or 0)
    return str(torch.cuda.get_device_name(index))


def worker_devices(host: str) -> list[str]:
    """Return the device of each worker of the service at ``host``.

    Raises:
        RuntimeError: There is no service, or it has no worker.
    """
    try:
        answer = httpx.get(f"{host}/queue", timeout=10, trust_env=False).raise_for_status()
        devices = [str(worker["device"]) for worker in answer.json()["workers"]]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        raise RuntimeError(f"No VoxelQ service answers at {host}.") from error
    if not devices:
        raise RuntimeError(f"No worker listens at {host}.")
    return devices


class Measured(NamedTuple):
    """How to start the service that is measured, its device, and its workers and batch sizes."""

    start: Start
    device: str
    workers: list[int]
    sizes: list[int | None]


def measured_service(options: argparse.Namespace) -> Measured:
    """Return the service that the options name.

    Raises:
        RuntimeError: No service answers at ``--host``.
    """
    if options.host:
        host = options.host.rstrip("/")
        devices = worker_devices(host)
        return Measured(partial(already_running, host), devices[0], [len(devices)], [None])
    return Measured(
        compose if options.compose else local_stack,
        device_name(),
        options.num_workers or [1, 2],
        options.max_batch_size or [Settings().max_batch_size],
    )


@contextmanager
def already_running(host: str, *_: int) -> Iterator[Running]:
    """Yield a service that was started by the user, and leave it running."""
    on_this_machine = urlsplit(host).hostname in _LOOPBACK
    yield Running(host, {} if on_this_machine else None)
