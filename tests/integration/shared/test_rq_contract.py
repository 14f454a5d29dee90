"""Properties of RQ that VoxelQ needs. A failure here means that an RQ release changed one."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import rq
from redis import Redis
from rq import Queue, SimpleWorker
from rq.executions import Execution
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job as RqJob
from rq.registry import CanceledJobRegistry, FailedJobRegistry, FinishedJobRegistry
from rq.results import Result
from rq.serializers import JSONSerializer
from rq.utils import import_attribute

from shared.jobs import JobStatus
from shared.queue import keys
from shared.queue.job_queue import JobQueue
from shared.queue.rq_jobs import TASK
from shared.settings import Settings
from tests.conftest import Valkey
from tests.support.fake_worker import ScriptedEngine, report
from tests.support.jobs import Workers, submission, wait_for
from worker.pipeline.outcomes import Failed, Finished, Retry
from worker.queueing.leases import Leases, WorkerFacts
from worker.queueing.rq_worker import MicroBatchWorker

FACTS = WorkerFacts("worker-1", "cpu", None)
PROBLEM = {"type": "t", "title": "title", "status": 500, "detail": "detail"}
QUEUE = "test-model@1.0.0:routine"


def succeed(job_id: str) -> dict[str, Any]:
    """A task that a stock worker runs."""
    return {"job": job_id}


def raise_error(job_id: str) -> None:
    """A task that fails in a stock worker."""
    raise RuntimeError(job_id)


@pytest.fixture
def client(valkey: Valkey) -> Iterator[Redis]:
    """A client as RQ needs it."""
    with Redis.from_url(valkey.url) as opened:
        yield opened


def fetch(client: Any, job_id: str) -> RqJob:
    """Fetch a job as any RQ tool would."""
    return RqJob.fetch(job_id, connection=client, serializer=JSONSerializer)


def layout(client: Any, job_id: str) -> dict[str, set[str]]:
    """Return RQ's keys of a job, and the fields that RQ itself keeps in each."""
    found: dict[str, set[str]] = {}
    for key in client.scan_iter("rq:*"):
        name = key.decode().replace(job_id, "<job>")
        match client.type(key):
            case b"hash":
                fields = {field.decode() for field in client.hkeys(key)}
                found[name] = {field for field in fields if not field.startswith("voxelq_")}
            case b"stream":
                (_, entry), *_rest = client.xrevrange(key)
                fields = {field.decode() for field in entry}
                found[name] = {field for field in fields if not field.startswith("voxelq_")}
            case _:
                found[name] = set()
    return {name: fields for name, fields in found.items() if not name.startswith("rq:worker")}


def test_the_version_is_the_one_that_was_read() -> None:
    """The installed RQ is of the series whose layout the scripts use."""
    assert rq.__version__.split(".")[0] == "2"


def test_key_names_are_those_of_rq(client: Redis) -> None:
    """Every RQ key that a script writes is the one that RQ reads."""
    job = RqJob.create(succeed, args=("a",), id="a", connection=client, serializer=JSONSerializer)
    queue = Queue("q", connection=client)
    assert job.key == keys.RQ_JOB + "a"
    assert queue.key == keys.RQ_QUEUE + "q"
    assert Queue.redis_queues_keys == keys.RQ_QUEUES
    assert (
        IntermediateQueue.get_intermediate_queue_key(queue.key)
    ) == keys.RQ_QUEUE + "q" + keys.RQ_INTERMEDIATE
    assert Result.get_key("a") == keys.RQ_RESULTS + "a"
    assert Execution("e", "a", client).key == keys.RQ_EXECUTION + "a:e"
    assert queue.started_job_registry.key == keys.RQ_WIP + "q"
    for prefix, registry in (
        (keys.RQ_FINISHED, FinishedJobRegistry),
        (keys.RQ_FAILED, FailedJobRegistry),
        (keys.RQ_CANCELED, CanceledJobRegistry),
    ):
        assert prefix + "q" == registry("q", connection=client).key


def test_the_task_resolves() -> None:
    """The function that jobs name by path exists."""
    assert callable(import_attribute(TASK))


async def test_a_queued_job_is_an_ordinary_rq_job(queue: JobQueue, client: Redis) -> None:
    """RQ's own classes fetch a submitted job and see it queued, with ids for arguments."""
    job_id = (await queue.submit(submission())).job.id
    job = fetch(client, job_id)
    assert job.get_status() == "queued"
    assert (job.func_name, job.args) == (TASK, (job_id,)) or job.args == [job_id]
    assert Queue(QUEUE, connection=client).job_ids == [job_id]


async def test_the_registries_have_the_right_jobs(
    queue: JobQueue, leases: Leases, client: Redis
) -> None:
    """Started, finished, failed and cancelled jobs are in RQ's registries, and only there."""
    ids = [(await queue.submit(submission())).job.id for _ in range(4)]
    leased_jobs = leases.begin(leases.draw(3).jobs, FACTS)
    rq_queue = Queue(QUEUE, connection=client, serializer=JSONSerializer)
    assert set(rq_queue.started_job_registry.get_job_ids()) == set(ids[:3])
    leases.settle(
        [
            (leased_jobs[0], Finished(report(leased_jobs[0], "worker-1", 3))),
            (leased_jobs[1], Failed(PROBLEM)),
            (leased_jobs[2], Retry(PROBLEM)),
        ],
        FACTS,
        batch_s=1,
        metrics={},
    )
    await queue.cancel(ids[3])
    assert rq_queue.started_job_registry.get_job_ids() == []
    assert rq_queue.finished_job_registry.get_job_ids() == [ids[0]]
    assert rq_queue.failed_job_registry.get_job_ids() == [ids[1]]
    assert rq_queue.canceled_job_registry.get_job_ids() == [ids[3]]
    assert rq_queue.job_ids == [ids[2]]
    statuses = [fetch(client, job_id).get_status().value for job_id in ids]
    assert statuses == ["finished", "failed", "queued", "canceled"]


async def test_a_finished_jobs_record_is_small(
    queue: JobQueue, leases: Leases, client: Redis
) -> None:
    """A finished job keeps a packed hash and a result of its own size, and RQ reads both."""
    submitted = submission()
    await queue.submit(submitted)
    (leased,) = leases.begin(leases.draw(1).jobs, FACTS)
    leases.settle([(leased, Finished(report(leased, "worker-1", 1)))], FACTS, batch_s=1, metrics={})
    names: list[Any] = [key for key in client.scan_iter() if submitted.id.encode() in key]
    assert sorted(names) == [
        f"rq:job:{submitted.id}".encode(),
        f"rq:results:{submitted.id}".encode(),
    ]
    assert sum(client.memory_usage(name) or 0 for name in names) < 2500
    job = fetch(client, submitted.id)
    assert job.func_name == TASK
    assert job.args == [submitted.id]
    assert job.ended_at is not None
    assert (await queue.get(submitted.id)).submission == submitted


async def test_rq_reads_our_results(queue: JobQueue, leases: Leases, client: Redis) -> None:
    """`Job.return_value` and `Job.latest_result` read the outcomes of a settled batch."""
    ids = [(await queue.submit(submission())).job.id for _ in range(2)]
    first, second = leases.begin(leases.draw(2).jobs, FACTS)
    done = report(first, "worker-1", 2)
    leases.settle(
        [(first, Finished(done)), (second, Failed(PROBLEM))], FACTS, batch_s=1, metrics={}
    )
    assert fetch(client, ids[0]).return_value() == done.model_dump(mode="json")
    failure = fetch(client, ids[1]).latest_result()
    assert failure is not None
    assert failure.type is Result.Type.FAILED
    assert failure.exc_string == "title: detail"


@pytest.mark.parametrize(("function", "fails"), [(succeed, False), (raise_error, True)])
async def test_a_settled_job_looks_like_a_stock_workers(
    queue: JobQueue, leases: Leases, client: Redis, function: Any, fails: bool
) -> None:
    """Keys and fields after a settle are those that a stock SimpleWorker writes."""
    stock = Queue(QUEUE, connection=client, serializer=JSONSerializer)
    job = stock.enqueue(function, "x", job_id="stock", result_ttl=60, failure_ttl=60)
    SimpleWorker([stock], connection=client, serializer=JSONSerializer).work(
        burst=True, logging_level="CRITICAL"
    )
    expected = layout(client, job.id)
    client.flushall()

    job_id = (await queue.submit(submission())).job.id
    (leased,) = leases.begin(leases.draw(1).jobs, FACTS)
    outcome = Failed(PROBLEM) if fails else Finished(report(leased, "worker-1", 1))
    leases.settle([(leased, outcome)], FACTS, batch_s=1, metrics={})
    ours = layout(client, job_id)

    assert set(ours) == set(expected)
    optional = {"execution_id", "execution_started_at", "execution_ended_at", "retries_left"}
    # RQ reads a hash without them as if they were empty, and of an ended job they say nothing.
    optional |= {f"{word}_callback_name" for word in ("success", "failure", "stopped")}
    optional |= {"group_id", "last_heartbeat"}
    for name, fields in expected.items():
        assert fields - optional <= ours[name], name
        assert ours[name] - optional <= fields | {"retry_intervals"}, name


async def test_a_stock_clean_up_queues_a_lost_job_once(
    queue: JobQueue, leases: Leases, client: Redis
) -> None:
    """A registry clean-up by `rq info` and our reaper together run a lost job once."""
    job_id = (await queue.submit(submission())).job.id
    (leased,) = leases.begin(leases.draw(1).jobs, FACTS)
    client.zadd(keys.RQ_WIP + QUEUE, {f"{leased.id}:{leased.execution}": 1})
    Queue(QUEUE, connection=client, serializer=JSONSerializer).started_job_registry.cleanup()
    leases.reap()
    (again,) = leases.draw(8).jobs
    assert again.id == job_id
    assert leases.draw(8).jobs == ()


async def test_rq_info_shows_the_worker_and_the_queue(
    queue: JobQueue, valkey: Valkey, workers: Workers
) -> None:
    """`rq info` names a live MicroBatchWorker and counts its jobs."""
    workers.start()
    await wait_for(queue, [(await queue.submit(submission())).job.id])
    await queue.submit(submission(version="9.9.9"))
    shown = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "rq.cli", "info", "--url", valkey.url],
        capture_output=True,
        text=True,
        check=True,
    )
    printed = shown.stdout
    assert f"fake-{workers.processes[0].pid}" in printed
    assert "1 workers, " in printed


def test_the_seams_of_simple_worker_exist(settings: Settings) -> None:
    """RQ has the methods that MicroBatchWorker overrides or calls."""
    for name in ("work", "register_birth", "register_death"):
        assert callable(getattr(SimpleWorker, name))
    assert isinstance(ScriptedEngine.device, str)
    assert issubclass(MicroBatchWorker, SimpleWorker)
    assert {status.value for status in JobStatus} <= {status.value for status in rq.job.JobStatus}
