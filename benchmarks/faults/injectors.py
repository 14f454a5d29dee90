"""Faults: contexts in which something is wrong with a running service, and after which it is not.

An injector is given the service, the jobs of its clients and the target that a stage of life
yielded. What has no end, such as a SIGKILL, is over as soon as it has happened.
"""

import errno
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any

import httpx
import redis as redis_py
from rq import Queue
from rq.serializers import JSONSerializer

from benchmarks.faults import disks
from benchmarks.faults.disk_faults import HANG, Calls, DiskFaults
from benchmarks.faults.jobs import Jobs
from benchmarks.faults.models import OTHER, QUICK, SLOW, VERSION, write_broken_model
from benchmarks.faults.service import FaultedService, Server, keep_roles
from benchmarks.faults.stages import Target, upload_slowly, wait_until_loading
from shared import keys

Injector = Callable[[FaultedService, Jobs, Target], AbstractContextManager[None]]
_REDIS_LOADS_S = 15.0
_MANY_UPLOADS = 45
_LOADS_KILLED = 3


# Processes


@contextmanager
def killed(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """SIGKILL to the target."""
    _signal(target.pid, signal.SIGKILL)
    yield


@contextmanager
def terminated(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """SIGTERM to the target."""
    _signal(target.pid, signal.SIGTERM)
    yield


@contextmanager
def frozen(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """The target stands still (SIGSTOP) and then goes on."""
    _signal(target.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(target.pid, signal.SIGCONT)


@contextmanager
def killed_again_and_again(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """SIGKILL to a worker that loads, and to the next ones as soon as they have come so far."""
    for _ in range(_LOADS_KILLED):
        starts = target.part.starts
        target.part.signal(signal.SIGKILL)
        wait_until_loading(service, target.part.wait_for_next(starts))
    yield


@contextmanager
def stopped_while_hung(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """SIGTERM to a worker that cannot end what it has begun: its mask cannot be written."""
    with service.worker_disk.rule(HANG, ".mask.nii.gz", "write"), service.client() as client:
        jobs.submit(client)
        service.worker_disk.wait_until_met(30)
        _signal(target.pid, signal.SIGTERM)
        yield


# Redis


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


# Network


@contextmanager
def workers_cut_off(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """Workers cannot reach Redis: every connection is reset."""
    with service.worker_link.cut():
        yield


@contextmanager
def api_cut_off(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """The API cannot reach Redis: every connection is reset."""
    with service.api_link.cut():
        yield


@contextmanager
def all_cut_off(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """Nothing can reach Redis."""
    with service.worker_link.cut(), service.api_link.cut():
        yield


@contextmanager
def all_silent(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """The network swallows everything on its way to and from Redis, and ends no connection."""
    with service.worker_link.silent(), service.api_link.silent():
        yield


@contextmanager
def workers_silent(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """The network swallows what workers and Redis send each other."""
    with service.worker_link.silent():
        yield


@contextmanager
def half_closed(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """Connections to Redis can be written to and answer no more."""
    with service.worker_link.half_closed(), service.api_link.half_closed():
        yield


@contextmanager
def connections_reset(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """Every connection to Redis is reset once; new ones are taken at once."""
    for link in service.links:
        link.drop()
    yield


@contextmanager
def network_slow(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """Everything takes 150 ms more each way between Redis and all others."""
    with service.worker_link.slow(0.15), service.api_link.slow(0.15):
        yield


# Disks and folders


@contextmanager
def store_full(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """The disk of scans and masks has no byte left."""
    with disks.filled(service.store.parent):
        yield


def worker_files(error: int | str, path_part: str, calls: Calls = "any") -> Injector:
    """Return the fault of a worker's file calls that fail, or hang, on some paths."""
    return _file_fault(lambda service: [service.worker_disk], error, path_part, calls)


def api_files(error: int | str, path_part: str, calls: Calls = "any") -> Injector:
    """Return the fault of the API's file calls that fail, or hang, on some paths."""
    return _file_fault(lambda service: [service.api_disk], error, path_part, calls)


def all_files(error: int | str, path_part: str, calls: Calls = "any") -> Injector:
    """Return the fault of everybody's file calls that fail, or hang, on some paths."""
    return _file_fault(
        lambda service: [service.api_disk, service.worker_disk], error, path_part, calls
    )


@contextmanager
def store_away(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """The folder of the store has gone, and then is back."""
    with _renamed(service, "store"):
        yield


@contextmanager
def store_replaced(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """An empty folder lies where the store was, as after a mount that failed."""
    away = service.store.with_name("away")
    service.store.rename(away)
    service.store.mkdir()
    try:
        yield
    finally:
        # what was taken for the store meanwhile is in the way of the true one
        service.store.rename(service.store.with_name("wrong"))
        away.rename(service.store)
        _remove(service.store.with_name("wrong"))


@contextmanager
def models_away(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """The folder of the models has gone, and then is back."""
    with _renamed(service, "models"):
        yield


@contextmanager
def broken_bundle(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """A bundle appears that cannot be loaded, and then goes."""
    folder = write_broken_model(service.models)
    try:
        yield
    finally:
        _remove(folder)


@contextmanager
def malformed_bundle(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """A bundle appears whose card is a thousand lists in each other, and then goes."""
    folder = service.models / "malformed"
    (folder / VERSION / "configs").mkdir(parents=True)
    (folder / VERSION / "configs" / "metadata.json").write_text("[" * 100_000)
    try:
        yield
    finally:
        _remove(folder)


# Jobs


@contextmanager
def garbage_record(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """A job is in the queue whose record nobody can read."""
    job_id = "01" + "G" * 24
    queue = f"{QUICK}@{VERSION}:routine"
    now_s = time.time()
    with service.redis.pipeline() as pipe:
        pipe.hset(
            keys.RQ_JOB + job_id,
            mapping={
                "status": "queued", "origin": queue, "voxelq_submission": "{no record",
                "voxelq_priority": "routine", "voxelq_model": f"{QUICK}@{VERSION}",
                "voxelq_arrival": f"{now_s:.6f}", "voxelq_idempotency": "",
            },
        )  # fmt: skip
        pipe.sadd(keys.QUEUES, queue)
        pipe.sadd(keys.MODELS, f"{QUICK}@{VERSION}")
        pipe.sadd(keys.RQ_QUEUES, keys.RQ_QUEUE + queue)
        pipe.zadd(keys.PENDING + "routine", {job_id: now_s})
        pipe.zadd(keys.INDEX, {job_id: 0})
        pipe.zadd(keys.INDEX + ":queued", {job_id: 0})
        pipe.rpush(keys.RQ_QUEUE + queue, job_id)
        pipe.execute()
    jobs.strange.add(job_id)
    yield


@contextmanager
def foreign_job(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """A stock RQ client puts a job of its own into one of our queues."""
    queue = f"{QUICK}@{VERSION}:routine"
    with service.client() as client:
        jobs.submit(client)  # the queue is ours once a job of ours was in it
    stock = Queue(queue, connection=service.redis, serializer=JSONSerializer)
    jobs.strange.add(stock.enqueue("os.getpid").id)
    yield


@contextmanager
def killing_scan(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """A scan kills every worker that computes it; it fails, and healthy ones finish."""
    with service.client() as client:
        job_id = jobs.submit(client, model=SLOW, bad=True)
        for model in (SLOW, QUICK, QUICK, QUICK):
            jobs.submit(client, model=model)
    killed_for: set[bytes] = set()
    deadline = time.monotonic() + 90
    while job_id not in jobs.ended and time.monotonic() < deadline:
        record: Any = service.redis.hmget(keys.RQ_JOB + job_id, "status", "voxelq_execution")
        status, execution = record
        if status == b"started" and execution and execution not in killed_for:
            member = f"{keys.RQ_EXECUTION}{job_id}:{execution.decode()}"
            worker: Any = service.redis.hget(member, "worker_name")
            part = service.worker_named(worker.decode()) if worker else None
            if part is not None:
                killed_for.add(execution)
                part.signal(signal.SIGKILL)
        time.sleep(0.01)
    yield


@contextmanager
def hung_pass(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """A scan hangs every worker that computes it for longer than a batch may take."""
    with ExitStack() as stack, service.client() as client:
        job_id = jobs.submit(client, model=OTHER, bad=True)
        stack.enter_context(service.worker_disk.rule(HANG, f"{job_id}/"))
        for _ in range(3):
            jobs.submit(client)
        deadline = time.monotonic() + 90
        while job_id not in jobs.ended and time.monotonic() < deadline:
            time.sleep(0.1)
    yield


# Clients


@contextmanager
def hung_uploads(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """The API's store hangs under more uploads than the API has threads; the rest answers."""

    def upload() -> None:
        with service.client(20.0) as client:
            jobs.submit(client)

    with _threads(_MANY_UPLOADS, upload), service.api_disk.rule(HANG, "/store/data/"):
        service.api_disk.wait_until_met(10)
        time.sleep(1)
        with service.client(3.0) as client:
            for path in ("/livez", "/readyz", "/queue", "/models", "/jobs"):
                try:
                    answer = client.get(path)
                except httpx.HTTPError as error:
                    jobs.rude.append(f"GET {path} while the store hangs: {type(error).__name__}")
                else:
                    if answer.status_code != httpx.codes.OK:
                        jobs.rude.append(f"GET {path} while the store hangs: {answer.status_code}")
        yield


@contextmanager
def slow_clients(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """Clients send their scans bit by bit."""
    with _threads(6, lambda: upload_slowly(service, 3.0)):
        yield


@contextmanager
def clients_hang_up(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """Clients hang up in the middle of an upload, and while they are blocked."""

    def block_and_leave() -> None:
        with suppress(Exception), service.client(0.2) as client:
            jobs.predict(client)

    with (
        _threads(6, lambda: upload_slowly(service, 0.5)),
        _threads(6, block_and_leave),
    ):
        yield


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


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


def _file_fault(
    disks_of: Callable[[FaultedService], list[DiskFaults]],
    error: int | str,
    path_part: str,
    calls: Calls,
) -> Injector:
    @contextmanager
    def failing(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
        with ExitStack() as stack:
            for disk in disks_of(service):
                stack.enter_context(disk.rule(error, path_part, calls))
            yield

    return failing


@contextmanager
def _renamed(service: FaultedService, name: str) -> Iterator[None]:
    folder = service.store if name == "store" else service.models
    away = folder.with_name(f"{folder.name}-away")
    folder.rename(away)
    try:
        yield
    finally:
        if folder.exists():  # made anew meanwhile, by whoever writes without looking
            _remove(folder)
        away.rename(folder)


@contextmanager
def _threads(count: int, work: Callable[[], None]) -> Iterator[None]:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join()


def _remove(folder: os.PathLike[str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)


#: Errors that tables name.
EIO, EACCES, ENOSPC = errno.EIO, errno.EACCES, errno.ENOSPC
