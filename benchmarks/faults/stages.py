"""Stages of the life of a worker or the API, each of which can be reached on purpose.

A stage is a context: inside, the process of its target stays in the stage, or takes seconds to pass
it. Where a process must be kept in a stage, its next file call hangs until the block ends.
"""

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
from redis.exceptions import RedisError

from benchmarks.common.waiting import wait_until
from benchmarks.faults.disk_faults import HANG
from benchmarks.faults.jobs import SCAN, Jobs
from benchmarks.faults.models import OTHER, QUICK, SLOW, weights
from benchmarks.faults.parts import Part
from benchmarks.faults.service import FaultedService
from shared.queue import keys

#: Far above the time that any stage needs to be reached.
BOUND_S = 30.0
#: After so long from the start of a scan, or from reading the weights, the network computes.
_UNTIL_COMPUTING_S = 0.4
_SLOW_SCANS = 5


@dataclass(frozen=True)
class Target:
    """The part whose process is in the stage, and that process."""

    part: Part
    pid: int


Stage = Callable[[FaultedService, Jobs], AbstractContextManager[Target]]


@contextmanager
def starting(service: FaultedService, jobs: Jobs) -> Iterator[Target]:
    """A worker that was just started and is still importing."""
    part = service.workers[0]
    yield Target(part, _started_anew(part))


@contextmanager
def loading(service: FaultedService, jobs: Jobs) -> Iterator[Target]:
    """A worker that has just begun to load its model."""
    part = service.workers[0]
    pid = _started_anew(part)
    wait_until_loading(service, pid)
    yield Target(part, pid)


@contextmanager
def warming_up(service: FaultedService, jobs: Jobs) -> Iterator[Target]:
    """A worker that has read its weights and warms up; its model must be slow."""
    with loading(service, jobs) as target:
        pass
    time.sleep(_UNTIL_COMPUTING_S)
    yield target


@contextmanager
def idle(service: FaultedService, jobs: Jobs) -> Iterator[Target]:
    """A worker that has nothing to do."""
    part = service.workers[0]
    yield Target(part, part.pid)


@contextmanager
def drawing(service: FaultedService, jobs: Jobs) -> Iterator[Target]:
    """A worker that has drawn a job and not started it, because it loads another model first."""
    with service.client() as client:
        for _ in range(4):
            with service.worker_disk.rule(HANG, weights(OTHER)):
                job_id = _submit(jobs, client, OTHER)
                if _loads_for(service, client, job_id):
                    yield _lessee(service, job_id)
                    return
            for model in (OTHER, SLOW, QUICK):  # the last two evict the first from memory
                _finish(jobs, client, model)
    raise TimeoutError("no worker loaded another model for a job")


@contextmanager
def computing(service: FaultedService, jobs: Jobs) -> Iterator[Target]:
    """A worker whose network computes scans that together take a second."""
    with service.client() as client:
        _finish(jobs, client, SLOW)  # so that its model is loaded
        job_id, *_ = [_submit(jobs, client, SLOW) for _ in range(_SLOW_SCANS)]
        _until(lambda: _status(client, job_id) in ("started", "finished"), "no scan was started")
        time.sleep(_UNTIL_COMPUTING_S / 4)
        yield _lessee(service, job_id)


@contextmanager
def settling(service: FaultedService, jobs: Jobs) -> Iterator[Target]:
    """A worker that has computed a scan and writes its mask."""
    with service.client() as client, service.worker_disk.rule(HANG, ".mask.nii.gz", "write"):
        job_id = _submit(jobs, client, QUICK)
        service.worker_disk.wait_until_met(BOUND_S)
        yield _lessee(service, job_id)


@contextmanager
def draining(service: FaultedService, jobs: Jobs) -> Iterator[Target]:
    """A worker that was asked to stop and finishes its batch."""
    with computing(service, jobs) as target:
        target.part.signal(signal.SIGTERM)
        time.sleep(0.1)
        yield target


@contextmanager
def anywhere(service: FaultedService, jobs: Jobs) -> Iterator[Target]:
    """A worker under steady load, at any stage of a scan."""
    part = service.workers[0]
    over = threading.Event()

    def load() -> None:
        with service.client() as client:
            while not over.wait(0.05):
                jobs.submit(client)

    thread = threading.Thread(target=load, name="load")
    thread.start()
    try:
        time.sleep(0.5)
        yield Target(part, part.pid)
    finally:
        over.set()
        thread.join()


@contextmanager
def serving_clients(service: FaultedService, jobs: Jobs) -> Iterator[Target]:
    """The API with uploads under way and clients that are blocked for a slow scan."""

    def block() -> None:
        with service.client() as client:
            jobs.predict(client)

    with service.client() as client:
        _submit(jobs, client, SLOW)
    threads = [threading.Thread(target=block, name="blocked") for _ in range(3)]
    threads += [threading.Thread(target=upload_slowly, args=(service,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.5)
        yield Target(service.api, service.api.pid)
    finally:
        for thread in threads:
            thread.join()


def wait_until_loading(service: FaultedService, pid: int) -> None:
    """Return as soon as a worker's process reports that it loads a model."""

    def loads() -> bool:
        with suppress(RedisError):
            loading: Any = service.redis.hkeys(keys.LOADING)
            return any(f"-{pid}-" in worker.decode() for worker in loading)
        return False

    _until(loads, "no worker loaded its model", tick_s=0.001)


def upload_slowly(service: FaultedService, seconds: float = 1.5, *, whole: bool = False) -> None:
    """Send a scan in small pieces for so long; then send the rest, or disconnect."""
    address = urlsplit(service.url)
    assert address.hostname is not None
    head = (
        f"POST /jobs HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/gzip\r\n"
        f"Content-Length: {len(SCAN)}\r\nConnection: close\r\n\r\n"
    )
    try:
        with socket.create_connection((address.hostname, address.port or 80), 5) as connection:
            connection.sendall(head.encode())
            steps = max(1, int(seconds / 0.1))
            piece = max(1, len(SCAN) // (2 * steps))
            for step in range(steps):
                connection.sendall(SCAN[step * piece : (step + 1) * piece])
                time.sleep(0.1)
            if whole:
                connection.sendall(SCAN[steps * piece :])
                connection.recv(4096)
    except OSError:
        return  # the API cannot be reached


#: Every stage of a worker's life, in order.
WORKER_STAGES: dict[str, Stage] = {
    "starting": starting,
    "loading": loading,
    "warming up": warming_up,
    "idle": idle,
    "drawing": drawing,
    "computing": computing,
    "settling": settling,
    "draining": draining,
}


def _started_anew(part: Part) -> int:
    starts = part.starts
    part.signal(signal.SIGKILL)
    return part.wait_for_next(starts)


def _submit(jobs: Jobs, client: httpx.Client, model: str) -> str:
    job_id = jobs.submit(client, model=model)
    if not job_id:
        raise RuntimeError(f"a scan for {model} was not accepted")
    return job_id


def _lessee(service: FaultedService, job_id: str) -> Target:
    """Return the worker that has leased a job, or the first worker if none has."""
    execution = service.redis.hget(keys.RQ_JOB + job_id, "voxelq_execution")
    worker: bytes | None = None
    if isinstance(execution, bytes):
        member = f"{keys.RQ_EXECUTION}{job_id}:{execution.decode()}"
        name = service.redis.hget(member, "worker_name")
        worker = name if isinstance(name, bytes) else None
    part = service.worker_named(worker.decode()) if worker else None
    part = part or service.workers[0]
    return Target(part, part.pid)


def _status(client: httpx.Client, job_id: str) -> str:
    return str(client.get(f"/jobs/{job_id}").json()["status"])


def _loads_for(service: FaultedService, client: httpx.Client, job_id: str) -> bool:
    """Return whether a worker has drawn a job and is about to load its model.

    It may have that model already, or load it without a job.
    """
    _until(
        lambda: service.worker_disk.met or _status(client, job_id) == "finished",
        "no job for another model was drawn",
    )
    time.sleep(_UNTIL_COMPUTING_S)
    drawn = service.redis.hexists(keys.RQ_JOB + job_id, "voxelq_execution")
    return service.worker_disk.met and bool(drawn) and _status(client, job_id) == "queued"


def _finish(jobs: Jobs, client: httpx.Client, model: str) -> None:
    job_id = _submit(jobs, client, model)
    _until(lambda: _status(client, job_id) == "finished", "no scan finished")


def _until(condition: Callable[[], bool], failure: str, tick_s: float = 0.01) -> None:
    wait_until(condition, failure, bound_s=BOUND_S, tick_s=tick_s)
