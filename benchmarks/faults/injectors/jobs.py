"""Jobs that no worker can read, and scans that end or hang their worker."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from rq import Queue
from rq.serializers import JSONSerializer

from benchmarks.common.model_folders import VERSION
from benchmarks.common.waiting import wait_until
from benchmarks.faults.disk_faults import HANG
from benchmarks.faults.jobs import Jobs
from benchmarks.faults.models import OTHER, QUICK, SLOW
from benchmarks.faults.service import FaultedService
from benchmarks.faults.stages import Target
from shared.queue import keys


@contextmanager
def garbage_record(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """A job is in the queue whose record no worker can read."""
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
    service.foreign.add(job_id)
    yield


@contextmanager
def foreign_job(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """A stock RQ client puts a job of its own into one of our queues."""
    queue = f"{QUICK}@{VERSION}:routine"
    with service.client() as client:
        jobs.submit(client)  # a queue is one of ours after the first of our jobs
    stock = Queue(queue, connection=service.redis, serializer=JSONSerializer)
    service.foreign.add(stock.enqueue("os.getpid").id)
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
        with suppress(TimeoutError):  # the invariants report a job that does not end
            wait_until(lambda: job_id in jobs.ended, "", bound_s=90, tick_s=0.1)
    yield
