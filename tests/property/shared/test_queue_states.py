"""The queue's scripts on a real server, called in any order and compared with a model.

After every step, the jobs and leases on the server must be those of the model.
"""

import asyncio
import time
from collections.abc import Awaitable
from functools import partial
from typing import Any, TypeVar

from hypothesis import Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer
from ulid import ULID

from shared.errors import InferenceFailed
from shared.jobs import JobStatus, Priority
from shared.queue import keys, scripts
from shared.queue.job_queue import JobQueue
from shared.settings import Settings
from tests.conftest import Valkey
from tests.support.fake_worker import report
from tests.support.jobs import submission
from tests.support.queue_invariants import (
    check_counters,
    check_gone,
    check_jobs,
    check_listings,
    check_places,
)
from tests.support.queue_model import LIVE, JobModel, QueueModel, lease_name
from worker.pipeline.outcomes import Failed, Finished, LeasedJob, Outcome, Retry, Returned
from worker.pipeline.trouble import Trouble
from worker.queueing.connection import connect
from worker.queueing.leases import Leases, WorkerFacts

T = TypeVar("T")

VERSIONS = ("1.0.0", "2.0.0")
QUEUES = [
    keys.queue_name(f"test-model@{version}", priority)
    for version in VERSIONS
    for priority in Priority
]
WORKERS = ("worker-1", "worker-2")
PROBLEM = InferenceFailed("a fault").problem()
HOUR_S = 3600.0

workers = st.sampled_from(WORKERS)
numbers = st.integers(0, 99)


def facts(worker: str) -> WorkerFacts:
    """Return a worker's facts."""
    return WorkerFacts(worker, "cpu", None)


class QueueStates(RuleBasedStateMachine):
    """Two workers, any number of clients, RQ's own tools and Redis's clock."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.client: Any = Redis.from_url(settings.redis_url, decode_responses=True)
        self.client.flushall()
        self.loop = asyncio.new_event_loop()
        self.queue = JobQueue(settings)
        self.connections = [connect(settings) for _ in WORKERS]
        self.leases = {
            worker: Leases(connection, worker, settings)
            for worker, connection in zip(WORKERS, self.connections, strict=True)
        }
        self.model = QueueModel(WORKERS, settings.max_attempts)

    def teardown(self) -> None:
        """Close every connection."""
        self.wait(self.queue.aclose())
        self.loop.close()
        for connection in [*self.connections, self.client]:
            connection.close()

    def wait(self, awaited: Awaitable[T]) -> T:
        """Return the result of a coroutine of the queue."""
        return self.loop.run_until_complete(awaited)

    def pick(self, number: int, *statuses: str) -> str | None:
        """Return the id of a job in one of these states, or None."""
        ids = self.model.present(*statuses)
        return ids[number % len(ids)] if ids else None

    # Clients

    @rule(
        version=st.sampled_from(VERSIONS),
        priority=st.sampled_from(list(Priority)),
        again=st.lists(st.sampled_from([None, None, "a", "b"]), min_size=1, max_size=3),
    )
    def submit(self, version: str, priority: Priority, again: list[str | None]) -> None:
        """Submit some scans, perhaps with a key that was used before."""
        for key in again:
            self.submit_one(version, priority, key)

    def submit_one(self, version: str, priority: Priority, key: str | None) -> None:
        """Submit one scan; the same key names the same job."""
        new = submission(version=version, priority=priority, idempotency_key=key)
        receipt = self.wait(self.queue.submit(new))
        known = self.model.jobs.get(self.model.keys.get(key or "", ""))
        if key and known and not known.deleted:
            assert (receipt.created, receipt.job.id) == (False, self.model.keys[key])
            return
        assert (receipt.created, receipt.job.id) == (True, new.id)
        self.model.jobs[new.id] = JobModel(keys.queue_name(new.model_ref, priority))
        if key:
            self.model.keys[key] = new.id

    @rule(number=numbers)
    def cancel(self, number: int) -> None:
        """Cancel some live job."""
        job_id = self.pick(number, *LIVE)
        if job_id:
            assert self.wait(self.queue.cancel(job_id))
            self.model.cancel(job_id)

    @rule(kept=st.integers(0, 5))
    def retention(self, kept: int) -> None:
        """List all jobs, then purge the oldest terminal ones beyond a number."""
        self.list_all()
        scripts.INDEX_ENDED.run(self.client, 100)
        ids = scripts.EXPIRED.run(self.client, HOUR_S * 1000, kept, 100)
        live = set(self.model.present(*LIVE))
        assert not live & set(ids)
        assert scripts.PURGE_ALL.run(self.client, *ids, *live) == len(ids)
        self.model.purge(ids)
        assert self.client.zcard(keys.ENDED) <= kept

    def list_all(self) -> None:
        """List all jobs: every job is listed, the newest first."""
        page = self.wait(self.queue.page(None, 1000, None))
        assert [job.id for job in page.jobs] == sorted(self.model.present(), reverse=True)
        assert page.next_cursor is None

    # Workers

    @rule(
        worker=workers,
        most=st.integers(1, 4),
        thresholds=st.sampled_from([(), (1, 1), (1, 2, 4)]),
        begins=st.booleans(),
    )
    def draw(self, worker: str, most: int, thresholds: tuple[int, ...], begins: bool) -> None:
        """Draw a batch: queued jobs of one model; a job that was lost before is drawn alone."""
        by_model = {f"test-model@{version}": thresholds for version in VERSIONS}
        leased_jobs = self.leases[worker].draw(most, thresholds=by_model).jobs
        assert len(leased_jobs) <= most
        assert len({leased.submission.model_ref for leased in leased_jobs}) <= 1
        assert len(leased_jobs) == 1 or not any(leased.alone for leased in leased_jobs)
        for leased in leased_jobs:
            job = self.model.jobs[leased.id]
            assert (job.status, job.garbled, job.deleted) == ("queued", False, False)
            assert leased.alone == (job.losses > 0)
        self.model.draw(leased_jobs, worker)
        for job_id, job in self.model.jobs.items():
            status = self.client.hget(keys.RQ_JOB + job_id, "status")
            if job.garbled and (job.status, status) == ("queued", "failed"):
                self.model.end(job, "failed")
        if begins:
            self.begin(worker)

    def begin(self, worker: str) -> None:
        """Begin the jobs that were drawn; those that were lost are left out."""
        drawn = [
            leased
            for leased in self.model.active[worker]
            if self.model.job_of(leased).status == "queued"
        ]
        begun = self.leases[worker].begin(drawn, facts(worker))
        assert begun == self.model.begin(drawn)

    @rule(
        worker=workers,
        outcomes=st.lists(
            st.sampled_from(["finished", "failed", "retry", "returned"]), min_size=4, max_size=4
        ),
        repeated=st.booleans(),
    )
    def settle(self, worker: str, outcomes: list[str], repeated: bool) -> None:
        """Settle the begun jobs, some of which may be lost; perhaps a second time."""
        begun = [
            leased
            for leased in self.model.active[worker]
            if lease_name(leased) not in self.model.leases
            or self.model.jobs[leased.id].status == "started"
        ]
        settled = [
            (leased, self.outcome(leased, outcomes[number % 4], worker))
            for number, leased in enumerate(begun)
        ]
        dropped = self.leases[worker].settle(settled, facts(worker), batch_s=0.1, metrics={})
        expected = self.model.settle(settled)
        assert dropped == expected
        if repeated:
            again = self.leases[worker].settle(settled, facts(worker), batch_s=0.1, metrics={})
            assert again == expected
        self.model.active[worker] = [
            leased for leased in self.model.active[worker] if leased not in begun
        ]

    def outcome(self, leased: LeasedJob, kind: str, worker: str) -> Outcome:
        """Return an outcome of this kind."""
        match kind:
            case "finished":
                return Finished(report(leased, worker, 1))
            case "failed":
                return Failed(PROBLEM)
            case "retry":
                return Retry(PROBLEM)
        return Returned(PROBLEM, Trouble("a fault"))

    def give_back(self, worker: str) -> None:
        """A worker gives back all its jobs, as at a planned stop."""
        active = list(self.model.active[worker])
        assert self.leases[worker].give_back(active) == self.model.give_back(worker)

    @rule(worker=workers)
    def extend(self, worker: str) -> None:
        """A worker extends its leases, and learns which ones it has lost."""
        lost = self.leases[worker].extend(self.model.active[worker], facts(worker))
        assert lost == self.model.extend(worker)

    def die(self, worker: str) -> None:
        """A worker dies, and its watchdog reports that."""
        scripts.ABANDON.run(self.client, worker)
        self.model.die(worker)

    @rule(worker=workers, end=st.sampled_from(["killed", "silent", "frozen", "stopped"]))
    def stop(self, worker: str, end: str) -> None:
        """A worker stops: killed, without a report, frozen for a while, or as planned."""
        match end:
            case "killed":
                self.die(worker)
            case "stopped":
                self.give_back(worker)
            case _:
                self.fall_silent(worker, alive=end == "frozen")

    def fall_silent(self, worker: str, *, alive: bool) -> None:
        """A worker's leases run out; it is dead, or only frozen."""
        for leased in self.model.expire(worker):
            overdue = {lease_name(leased): time.time() - 1}
            self.client.zadd(keys.RQ_WIP + leased.queue, overdue)
        if not alive:
            self.model.active[worker] = []

    @rule(gap_s=st.sampled_from([0.5, 1.5, 1.5, HOUR_S, -HOUR_S]))
    def reap(self, gap_s: float) -> None:
        """Reap ``gap_s`` seconds after the last time; too early it does nothing."""
        self.client.set(keys.REAPED_AT, time.time() - gap_s)
        reaped = self.leases[WORKERS[0]].reap()
        if gap_s == 0.5:
            assert reaped == 0
            return
        assert reaped == self.model.reap(may_spare=gap_s != 1.5)
        for job_id, job in list(self.model.jobs.items()):
            if job.deleted and job.status in LIVE:
                check_gone(self.client, job_id)

    # Faults

    @rule(
        kind=st.sampled_from(["clock", "garble", "delete", "foreign", "stock"]),
        number=numbers,
        forward=st.booleans(),
    )
    def fault(self, kind: str, number: int, forward: bool) -> None:
        """A fault from outside: a stepped clock, another version, RQ's tools, a stock worker."""
        queue = QUEUES[number % len(QUEUES)]
        match kind:
            case "clock":
                self.step_clock(HOUR_S if forward else -HOUR_S)
            case "garble":
                self.garble(number)
            case "delete":
                self.delete(number)
            case "foreign":
                self.enqueue_foreign(queue)
            case "stock":
                self.leave_in_intermediate_list(queue)

    def step_clock(self, seconds: float) -> None:
        """Step Redis's clock forward: all stored times are moved back instead."""
        for key in [keys.WORKERS, keys.BUSY, keys.ENDED, keys.STRAYS]:
            for name, score in self.client.zrange(key, 0, -1, withscores=True):
                self.client.zadd(key, {name: score - seconds})
        for queue in QUEUES:
            for name, score in self.client.zrange(keys.RQ_WIP + queue, 0, -1, withscores=True):
                if score > 1:
                    self.client.zadd(keys.RQ_WIP + queue, {name: score - seconds})
                    self.model.leases[name].expired = score - seconds < time.time()

    def garble(self, number: int) -> None:
        """A job's submission becomes unreadable for workers."""
        job_id = self.pick(number, "queued")
        if job_id and job_id not in self.model.leased_ids:
            self.client.hset(keys.RQ_JOB + job_id, "voxelq_submission", '{"id": 5}')
            self.model.jobs[job_id].garbled = True

    def delete(self, number: int) -> None:
        """RQ's own tools delete a job's hash and nothing else."""
        job_id = self.pick(number, *(status.value for status in JobStatus))
        if job_id:
            self.client.delete(keys.RQ_JOB + job_id)
            self.model.jobs[job_id].deleted = True

    def enqueue_foreign(self, queue: str) -> None:
        """A stock client queues a job of its own into one of our queues."""
        job_id = f"foreign-{ULID()}"
        with Redis.from_url(self.settings.redis_url) as client:
            stock = Queue(queue, connection=client, serializer=JSONSerializer)
            stock.enqueue(print, job_id=job_id)
        self.model.foreign.add(job_id)

    def leave_in_intermediate_list(self, queue: str) -> None:
        """A stock worker takes a job and dies before it begins; it is found a minute later."""
        moved = self.client.lmove(
            keys.RQ_QUEUE + queue, keys.RQ_QUEUE + queue + keys.RQ_INTERMEDIATE, "LEFT", "RIGHT"
        )
        if not moved or not self.client.sismember(keys.QUEUES, queue):
            if moved:
                self.client.lmove(
                    keys.RQ_QUEUE + queue + keys.RQ_INTERMEDIATE,
                    keys.RQ_QUEUE + queue, "RIGHT", "LEFT",
                )  # fmt: skip
            return
        self.reap(1.5)
        for name, score in self.client.zrange(keys.STRAYS, 0, -1, withscores=True):
            self.client.zadd(keys.STRAYS, {name: score - 61})
        self.reap(1.5)
        job = self.model.jobs.get(moved)
        if job and not job.deleted:
            assert moved in self.client.lrange(keys.RQ_QUEUE + queue, 0, -1)

    @invariant()
    def the_server_agrees_with_the_model(self) -> None:
        """Jobs, places, listings and counters are those of the model."""
        check_jobs(self.client, self.model)
        check_places(self.client, self.model, QUEUES)
        check_listings(self.client, self.model)
        check_counters(self.client, self.model)


def test_the_queue_agrees_with_the_model_in_any_order(valkey: Valkey, settings: Settings) -> None:
    """After any events in any order, every job is in its right place, once."""
    slow = settings.model_copy(update={"lease_s": 30.0, "redis_url": valkey.url})
    run_state_machine_as_test(
        partial(QueueStates, slow),  # type: ignore[arg-type]
        settings=hypothesis_settings(
            max_examples=100,
            stateful_step_count=50,
            deadline=None,
            phases=[Phase.reuse, Phase.generate],
        ),
    )
