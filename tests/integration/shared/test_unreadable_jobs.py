"""Jobs, workers and events whose records this version cannot read."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis
from rq import Queue
from rq.job import Job as RqJob
from rq.serializers import JSONSerializer

from api.schemas import JobPageView
from shared.jobs import JobStatus
from shared.queue import keys, scripts
from shared.queue.events import StreamOffsets, read_events
from shared.queue.job_queue import JobQueue
from tests.conftest import Valkey
from tests.support.fake_worker import report
from tests.support.jobs import submission
from worker.pipeline.outcomes import Finished
from worker.queueing.leases import Leases, WorkerFacts

FACTS = WorkerFacts("worker-1", "cpu", "test-model@1.0.0")
QUEUE = "test-model@1.0.0:routine"


@pytest.fixture
def client(valkey: Valkey) -> Iterator[Redis]:
    """A client of this test's server."""
    with Redis.from_url(valkey.url) as opened:
        yield opened


def enqueue_foreign(client: Any, job_id: str = "foreign") -> None:
    """Queue a job into one of VoxelQ's queues as any RQ client would."""
    Queue(QUEUE, connection=client, serializer=JSONSerializer).enqueue(print, job_id=job_id)


def change(client: Redis, job_id: str, **members: Any) -> None:
    """Change members of a job's submission in Redis."""
    stored: Any = client.hget(keys.RQ_JOB + job_id, "voxelq_submission")
    changed = json.dumps(json.loads(stored) | members)
    client.hset(keys.RQ_JOB + job_id, "voxelq_submission", changed)


def reap(leases: Leases, client: Redis) -> int:
    """Reap now."""
    client.set(keys.REAPED_AT, time.time() - 1.5)
    return leases.reap()


def end_leases(client: Redis) -> None:
    """End every lease, as if no heartbeat had come."""
    members: Any = client.zrange(keys.RQ_WIP + QUEUE, 0, -1)
    client.zadd(keys.RQ_WIP + QUEUE, dict.fromkeys(members, 2.0))


async def settle(queue: JobQueue, leases: Leases) -> str:
    """Submit a job, finish it and return its id."""
    job_id = (await queue.submit(submission())).job.id
    (leased,) = leases.begin(leases.draw(1).jobs, FACTS)
    leases.settle([(leased, Finished(report(leased, "worker-1", 1)))], FACTS, batch_s=1, metrics={})
    return job_id


async def test_a_job_of_another_client_is_set_aside(
    queue: JobQueue, leases: Leases, client: Redis
) -> None:
    """A job of a stock client fails when it is drawn, with a reason that RQ shows."""
    enqueue_foreign(client)
    job_id = (await queue.submit(submission())).job.id
    enqueue_foreign(client, "another")
    assert [leased.id for leased in leases.draw(8).jobs] == [job_id]
    foreign = RqJob.fetch("foreign", connection=client, serializer=JSONSerializer)
    assert foreign.get_status() == "failed"
    latest = foreign.latest_result()
    assert latest is not None
    assert latest.exc_string == "VoxelQ did not submit this job and cannot read it."
    letters: Any = client.zrange(keys.DEAD_LETTERS, 0, -1)
    assert set(letters) == {b"another", b"foreign"}
    assert b"foreign" in client.zrange(keys.RQ_FAILED + QUEUE, 0, -1)
    assert (await queue.state()).metrics["unreadable_jobs_total"] == 2
    assert [job.id for job in (await queue.page(None, 9, None)).jobs] == [job_id]


@pytest.mark.parametrize("field", ["voxelq_submission", "voxelq_priority", "voxelq_model"])
async def test_a_job_without_our_fields_stops_no_reaper(
    queue: JobQueue, leases: Leases, client: Redis, field: str
) -> None:
    """A started job whose fields are gone fails after its worker died."""
    job_id = (await queue.submit(submission())).job.id
    leases.begin(leases.draw(1).jobs, FACTS)
    client.hdel(keys.RQ_JOB + job_id, field)
    end_leases(client)
    assert reap(leases, client) == 1
    assert leases.draw(8).jobs == ()
    job = await queue.get(job_id)
    assert job.status is JobStatus.FAILED
    assert job.error is not None


async def test_a_submission_that_does_not_parse_fails_alone(
    queue: JobQueue, leases: Leases, client: Redis
) -> None:
    """Of a batch, only the job that this version cannot read fails, with a problem."""
    ids = [(await queue.submit(submission())).job.id for _ in range(3)]
    change(client, ids[0], priority="at-once")
    client.hset(keys.RQ_JOB + ids[1], "voxelq_submission", "{")
    assert [leased.id for leased in leases.draw(8).jobs] == [ids[2]]
    for job_id in ids[:2]:
        job = await queue.get(job_id)
        assert job.status is JobStatus.FAILED
        assert job.error is not None
        assert job.error["type"].endswith("job-unreadable")
        assert client.exists(f"{keys.RQ_EXECUTIONS}{job_id}") == 0
    assert client.zcard(keys.RQ_WIP + QUEUE) == 1
    state = await queue.state()
    assert state.metrics["unreadable_jobs_total"] == 2
    assert (state.queued, state.started) == (1, 0)


async def test_a_draw_goes_on_after_jobs_that_do_not_parse(
    queue: JobQueue, leases: Leases, client: Redis
) -> None:
    """Unreadable jobs at the head of the queue do not stop a worker from drawing."""
    for _ in range(3):
        change(client, (await queue.submit(submission())).job.id, scans="none")
    job_id = (await queue.submit(submission())).job.id
    assert [leased.id for leased in leases.draw(1).jobs] == [job_id]


async def test_a_job_never_begun_is_charged_in_the_end(
    queue: JobQueue, leases: Leases, client: Redis
) -> None:
    """Only the tenth draw without a begin is charged as a loss; a begin resets the count."""
    await queue.submit(submission())
    for _ in range(9):
        (leased,) = leases.draw(1).jobs
        assert not leased.alone
        end_leases(client)
        reap(leases, client)
    (leased,) = leases.begin(leases.draw(1).jobs, FACTS)
    assert client.hget(keys.RQ_JOB + leased.id, "voxelq_undone_draws") is None
    leases.give_back([leased])
    for _ in range(10):
        (leased,) = leases.draw(1).jobs
        assert not leased.alone
        end_leases(client)
        reap(leases, client)
    (leased,) = leases.draw(1).jobs
    assert leased.alone


@pytest.mark.parametrize(
    "damage",
    [
        {b"return_value": b"bm8gSlNPTg=="},
        {b"return_value": b"bnVsbA=="},
        {b"return_value": b"***"},
        {b"type": b"1"},
    ],
)
async def test_an_unreadable_result_is_shown_as_such(
    queue: JobQueue, leases: Leases, client: Redis, damage: dict[bytes, bytes]
) -> None:
    """A finished job whose report cannot be read is listed with its other facts."""
    first, damaged, last = [await settle(queue, leases) for _ in range(3)]
    entries: Any = client.xrevrange(keys.RQ_RESULTS + damaged)
    entry = entries[0][1]
    del entry[b"return_value"]
    client.delete(keys.RQ_RESULTS + damaged)
    client.xadd(keys.RQ_RESULTS + damaged, entry | damage)
    view = JobPageView.of(await queue.page(None, 9, None))
    assert [job.id for job in view.jobs] == [last, damaged, first]
    shown = view.jobs[1]
    assert (shown.status, shown.attempts, shown.model.name) == ("finished", 1, "test-model")
    assert shown.result is None
    assert shown.error is not None
    assert shown.error.type.endswith("job-unreadable")


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("voxelq_submission", "[]", "queued"),
        ("voxelq_submission", '{"model": "other", "priority": "at-once"}', "queued"),
        ("status", "pondering", "failed"),
        ("voxelq_attempts", "many", "queued"),
        ("created_at", "yesterday", "queued"),
    ],
)
async def test_an_unreadable_record_is_shown_as_such(
    queue: JobQueue, client: Redis, field: str, value: str, status: str
) -> None:
    """With any content of a job's hash, the page shows the job beside the others."""
    sound, damaged = [(await queue.submit(submission())).job for _ in range(2)]
    client.hset(keys.RQ_JOB + damaged.id, field, value)
    view = JobPageView.of(await queue.page(None, 9, None))
    assert [job.id for job in view.jobs] == [damaged.id, sound.id]
    shown = view.jobs[0]
    assert shown.status == status
    assert abs((shown.created_at - damaged.submission.created_at).total_seconds()) < 0.1
    assert (shown.error is None) == (field in ("voxelq_attempts", "created_at"))
    assert await queue.get_all([damaged.id]) == [await queue.get(damaged.id)]


@pytest.mark.parametrize("problem", ["{", "[]", '{"type": "t"}', '{"type": 1, "title": 2}'])
async def test_an_unreadable_problem_is_shown_as_such(
    queue: JobQueue, client: Redis, problem: str
) -> None:
    """A failed job whose problem cannot be read has a problem that says so."""
    job_id = (await queue.submit(submission())).job.id
    client.hset(keys.RQ_JOB + job_id, mapping={"status": "failed", "voxelq_problem": problem})
    (shown,) = JobPageView.of(await queue.page(None, 9, None)).jobs
    assert shown.error is not None
    assert shown.error.type.endswith("job-unreadable")


async def test_a_page_is_filled_past_ids_without_a_job(queue: JobQueue, client: Redis) -> None:
    """Ids without a job neither end a page nor stay in the listing."""
    ids = [(await queue.submit(submission())).job.id for _ in range(9)]
    for job_id in ids[2:7]:
        client.delete(keys.RQ_JOB + job_id)
    page = await queue.page(None, 3, None)
    assert [job.id for job in page.jobs] == [ids[8], ids[7], ids[1]]
    assert page.next_cursor == ids[1]
    page = await queue.page(None, 3, page.next_cursor)
    assert ([job.id for job in page.jobs], page.next_cursor) == ([ids[0]], None)
    assert client.zcard(keys.INDEX) == 4
    assert client.zcard(keys.PENDING + "routine") == 4
    assert (await queue.state()).queued == 4


async def test_a_full_last_page_is_the_last(queue: JobQueue) -> None:
    """There is no cursor on the last page."""
    for _ in range(3):
        await queue.submit(submission())
    assert (await queue.page(None, 3, None)).next_cursor is None


async def test_facts_of_other_versions_do_not_hide_the_queue(
    queue: JobQueue, leases: Leases, client: Redis
) -> None:
    """A worker's unknown facts are left out, missing ones filled in, unreadable workers skipped."""
    newer = json.loads(FACTS.to_json()) | {"id": "newer", "colour": "red"}
    for name, about in (
        ("newer", json.dumps(newer)),
        ("older", '{"id": "older"}'),
        ("broken", '{"id": 5, "batch": 7}'),
        ("garbled", "{"),
    ):
        scripts.EXTEND.run(client, name, about, 10, "", 0)
    workers = {worker.id: worker for worker in (await queue.state()).workers}
    assert set(workers) == {"newer", "older"}
    assert workers["newer"].device == "cpu"
    assert workers["older"].batch == ()


def test_unknown_events_are_left_out() -> None:
    """Events that cannot be read are skipped."""
    answer = [
        (
            keys.EVENTS.encode(),
            [
                (b"1-0", {b"job": b"a", b"status": b"pondering"}),
                (b"2-0", {b"other": b"a"}),
                (b"3-0", {b"job": b"a", b"status": b"started"}),
            ],
        ),
        (
            keys.PROGRESS.encode(),
            [(b"4-0", {b"a": b"1 thinking 0.5", b"b": b"?", b"c": b"1 load 0.5"})],
        ),
    ]
    news = read_events(answer, StreamOffsets("0-0", "0-0"))
    assert [event.status for event in news.events] == [JobStatus.STARTED]
    assert [one.job_id for one in news.progress] == ["c"]
    assert news.offsets == StreamOffsets("3-0", "4-0")
