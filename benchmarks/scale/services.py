"""The service under load: the local stack, containers, or one that runs already."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import httpx

from benchmarks.common.core_time import Parts
from benchmarks.common.services import ROOT, await_ready, voxelq
from voxelq.local.valkey import free_port

PROJECT = "voxelq-scale"


@dataclass(frozen=True)
class Running:
    """A service at ``base``; ``parts`` are its processes, None on a machine out of sight."""

    base: str
    parts: Parts | None


#: Brings a service up with so many workers and batches up to this size.
BringUp = Callable[[int, int], AbstractContextManager[Running]]


@contextmanager
def local_stack(workers: int, max_batch_size: int) -> Iterator[Running]:
    """Run ``voxelq up`` with this environment's settings."""
    with voxelq(workers, VOXELQ_MAX_BATCH_SIZE=str(max_batch_size)) as service:
        yield Running(service.url.removesuffix("/predict"), service.parts)


@contextmanager
def compose(workers: int, max_batch_size: int) -> Iterator[Running]:
    """Run ``docker compose up --scale worker=N``, and take all of it down with its volumes.

    Raises:
        RuntimeError: The engine is not there or could not do it; it has said why.
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
            raise RuntimeError("There is no container engine here: no `docker`.") from error
        if done.returncode:
            raise RuntimeError(f"`{' '.join(command)}` failed; see above.")

    try:
        docker_compose("up", "-d", "--build", "--scale", f"worker={workers}")
        base = f"http://127.0.0.1:{port}"
        await_ready(base, workers, [])
        yield Running(base, {})
    finally:
        docker_compose("down", "-v", "--remove-orphans", "--timeout", "30")


def device_name() -> str:
    """Return ``cpu``, or the name of the GPU that a service on this machine takes."""
    wanted = os.environ.get("VOXELQ_DEVICE", "auto")
    if wanted == "cpu":
        return "cpu"
    import torch  # takes seconds, and a service elsewhere needs none

    if not torch.cuda.is_available():
        return "cpu"
    index = int(wanted.partition(":")[2] or 0)
    return str(torch.cuda.get_device_name(index))


def workers_of(host: str) -> list[str]:
    """Return the devices of the workers of a service that runs already, one for each.

    Raises:
        RuntimeError: No service answers there, or no worker listens.
    """
    try:
        answer = httpx.get(f"{host}/queue", timeout=10, trust_env=False).raise_for_status()
        devices = [str(worker["device"]) for worker in answer.json()["workers"]]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        raise RuntimeError(f"No VoxelQ service answers at {host}.") from error
    if not devices:
        raise RuntimeError(f"No worker listens at {host}.")
    return devices
