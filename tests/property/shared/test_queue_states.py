"""The queue's scripts on a real server, driven in any order, against a model of what they promise.

The model knows of each job where it stands and what it was charged, and of each lease who holds
it. After every step the server must say the same.
"""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
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
UNDONE_PER_LOSS = 10

workers = st.sampled_from(WORKERS)
numbers = st.integers(0, 99)


@dataclass
class Known:
    """What must be true of a job."""

    queue: str
    status: str = "queued"
    attempts: int = 0
    losses: int = 0
    returns: int = 0
    undone: int = 0
    garbled: bool = False
    deleted: bool = False


@dataclass
class Held:
    """What must be true of a lease."""

    job: LeasedJob
    worker: str
    expired: bool = False
    dead: bool = False
    spared: bool = False


@dataclass
class Model:
    """All that must be true."""

    jobs: dict[str, Known] = field(default_factory=dict)
    leases: dict[str, Held] = field(default_factory=dict)
    hands: dict[str, list[LeasedJob]] = field(
        default_factory=lambda: {name: [] for name in WORKERS}
    )
    keys: dict[str, str] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    ended: dict[str, int] = field(default_factory=dict)

    def end(self, job: Known, status: str) -> None:
        """Have a job come to an end."""
        job.status = status
        self.ended[status] = self.ended.get(status, 0) + 1

    def lose(self, job: Known, most: int) -> None:
        """Charge a job for a loss."""
        job.losses += 1
        job.status = "queued"
        if job.losses >= most:
            self.end(job, "failed")


def member(leased: LeasedJob) -> str:
    """Return a lease's name in RQ's registry."""
    return f"{leased.id}:{leased.execution}"


def facts(worker: str) -> WorkerFacts:
    """Return what a worker shows of itself."""
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
        self.model = Model()

    def teardown(self) -> None:
        """Close every connection."""
        self.wait(self.queue.aclose())
        self.loop.close()
        for connection in [*self.connections, self.client]:
            connection.close()

    def wait(self, awaited: Awaitable[T]) -> T:
        """Return what a coroutine of the queue's door returns."""
        return self.loop.run_until_complete(awaited)

    def pick(self, number: int, *statuses: str) -> str | None:
        """Return the id of some job in one of these states; None when there is none."""
        ids = [
            job_id
            for job_id, job in self.model.jobs.items()
            if job.status in statuses and not job.deleted
        ]
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
        one = submission(version=version, priority=priority, idempotency_key=key)
        receipt = self.wait(self.queue.submit(one))
        known = self.model.jobs.get(self.model.keys.get(key or "", ""))
        if key and known and not known.deleted:
            assert (receipt.created, receipt.job.id) == (False, self.model.keys[key])
            return
        assert (receipt.created, receipt.job.id) == (True, one.id)
        self.model.jobs[one.id] = Known(keys.queue_name(one.model_ref, priority))
        if key:
            self.model.keys[key] = one.id

    @rule(number=numbers)
    def cancel(self, number: int) -> None:
        """Cancel some job that lives."""
        job_id = self.pick(number, "queued", "started")
        if job_id:
            assert self.wait(self.queue.cancel(job_id))
            self.model.end(self.model.jobs[job_id], "canceled")
            held = [name for name in self.model.leases if name.startswith(job_id)]
            for name in held:
                del self.model.leases[name]

    @rule(kept=st.integers(0, 5))
    def retention(self, kept: int) -> None:
        """List all jobs, then purge the oldest terminal ones beyond a number."""
        self.look()
        scripts.INDEX_ENDED.run(self.client, 100)
        ids = scripts.EXPIRED.run(self.client, HOUR_S * 1000, kept, 100)
        live = {
            job_id
            for job_id, job in self.model.jobs.items()
            if job.status in ("queued", "started") and not job.deleted
        }
        assert not live & set(ids)
        assert scripts.PURGE_ALL.run(self.client, *ids, *live) == len(ids)
        for job_id in ids:
            self.model.jobs.pop(job_id, None)
            self.model.foreign.discard(job_id)
        self.model.keys = {
            key: job_id for key, job_id in self.model.keys.items() if job_id in self.model.jobs
        }
        assert self.client.zcard(keys.ENDED) <= kept

    def look(self) -> None:
        """List all jobs: each that is there is shown, the newest first."""
        page = self.wait(self.queue.page(None, 1000, None))
        there = [job_id for job_id, job in self.model.jobs.items() if not job.deleted]
        assert [job.id for job in page.jobs] == sorted(there, reverse=True)
        assert page.next_cursor is None

    # Workers

    @rule(
        worker=workers,
        most=st.integers(1, 4),
        thresholds=st.sampled_from([(), (1, 1), (1, 2, 4)]),
        begins=st.booleans(),
    )
    def draw(self, worker: str, most: int, thresholds: tuple[int, ...], begins: bool) -> None:
        """Draw a batch: of one model, queued jobs only, and alone what was lost before."""
        by_model = {f"test-model@{version}": thresholds for version in VERSIONS}
        leased_jobs = self.leases[worker].draw(most, thresholds=by_model).jobs
        assert len(leased_jobs) <= most
        assert len({leased.submission.model_ref for leased in leased_jobs}) <= 1
        assert len(leased_jobs) == 1 or not any(leased.alone for leased in leased_jobs)
        for leased in leased_jobs:
            job = self.model.jobs[leased.id]
            assert (job.status, job.garbled, job.deleted) == ("queued", False, False)
            assert leased.alone == (job.losses > 0)
            self.model.leases[member(leased)] = Held(leased, worker)
        self.model.hands[worker] += leased_jobs
        for job_id, job in self.model.jobs.items():
            status = self.client.hget(keys.RQ_JOB + job_id, "status")
            if job.garbled and (job.status, status) == ("queued", "failed"):
                self.model.end(job, "failed")
        if begins:
            self.begin(worker)

    def begin(self, worker: str) -> None:
        """Begin what was drawn and is still held."""
        drawn = [
            leased
            for leased in self.model.hands[worker]
            if self.model.jobs.get(leased.id, Known("", deleted=True)).status == "queued"
        ]
        begun = self.leases[worker].begin(drawn, facts(worker))
        expected = []
        for leased in drawn:
            job = self.model.jobs.get(leased.id, Known("", deleted=True))
            if member(leased) in self.model.leases and not job.deleted:
                expected.append(leased)
                job.status, job.attempts, job.undone = "started", job.attempts + 1, 0
            else:
                self.model.leases.pop(member(leased), None)
        assert begun == expected

    @rule(
        worker=workers,
        outcomes=st.lists(
            st.sampled_from(["finished", "failed", "retry", "returned"]), min_size=4, max_size=4
        ),
        repeated=st.booleans(),
    )
    def settle(self, worker: str, outcomes: list[str], repeated: bool) -> None:
        """Settle what was begun, some of it lost meanwhile; perhaps a second time."""
        begun = [
            leased
            for leased in self.model.hands[worker]
            if member(leased) not in self.model.leases
            or self.model.jobs[leased.id].status == "started"
        ]
        settled = [
            (leased, self.outcome(leased, outcomes[place % 4], worker))
            for place, leased in enumerate(begun)
        ]
        dropped = self.leases[worker].settle(settled, facts(worker), batch_s=0.1, metrics={})
        expected = []
        for leased, outcome in settled:
            job = self.model.jobs.get(leased.id, Known("", deleted=True))
            if self.model.leases.pop(member(leased), None) is None or job.deleted:
                expected.append(leased)
                continue
            match outcome:
                case Finished():
                    self.model.end(job, "finished")
                case Failed():
                    self.model.end(job, "failed")
                case Retry():
                    self.model.lose(job, self.settings.max_attempts)
                case Returned():
                    job.status, job.returns = "queued", job.returns + 1
        assert dropped == expected
        if repeated:
            again = self.leases[worker].settle(settled, facts(worker), batch_s=0.1, metrics={})
            assert again == expected
        self.model.hands[worker] = [one for one in self.model.hands[worker] if one not in begun]

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
        """Return all that a worker has, as at a planned stop."""
        returned = 0
        for leased in self.model.hands[worker]:
            job = self.model.jobs.get(leased.id, Known("", deleted=True))
            if self.model.leases.pop(member(leased), None) and not job.deleted:
                job.returns += job.status == "started"
                job.status = "queued"
                returned += 1
        assert self.leases[worker].give_back(self.model.hands[worker]) == returned
        self.model.hands[worker] = []

    @rule(worker=workers)
    def beat(self, worker: str) -> None:
        """Extend what a worker has; what it lost is named."""
        hand = self.model.hands[worker]
        lost = self.leases[worker].extend(hand, facts(worker))
        expected = []
        for leased in hand:
            held = self.model.leases.get(member(leased))
            if held and self.model.jobs[leased.id].deleted:
                del self.model.leases[member(leased)]
                held = None
            if held:
                held.expired = held.spared = False
            else:
                expected.append(leased)
        assert lost == expected

    def die(self, worker: str) -> None:
        """A worker dies, and its watchdog says so."""
        scripts.ABANDON.run(self.client, worker)
        for held in self.model.leases.values():
            held.dead |= held.worker == worker
        self.model.hands[worker] = []

    @rule(worker=workers, end=st.sampled_from(["killed", "silent", "frozen", "stopped"]))
    def stop(self, worker: str, end: str) -> None:
        """A worker comes to a stop: killed, silent for ever, frozen for a while, or as planned."""
        match end:
            case "killed":
                self.die(worker)
            case "stopped":
                self.give_back(worker)
            case _:
                self.fall_silent(worker, alive=end == "frozen")

    def fall_silent(self, worker: str, *, alive: bool) -> None:
        """A worker's leases run out; it is dead, or only frozen."""
        for leased in self.model.hands[worker]:
            held = self.model.leases.get(member(leased))
            if held:
                held.expired = True
                self.client.zadd(keys.RQ_WIP + leased.queue, {member(leased): time.time() - 1})
        if not alive:
            self.model.hands[worker] = []

    @rule(gap_s=st.sampled_from([0.5, 1.5, 1.5, HOUR_S, -HOUR_S]))
    def reap(self, gap_s: float) -> None:
        """Take a turn of reaping, so long after the last one; a turn too early does nothing."""
        self.client.set(keys.REAPED_AT, time.time() - gap_s)
        taken = self.leases[WORKERS[0]].reap()
        if gap_s == 0.5:
            assert taken == 0
            return
        lost = []
        for name, held in list(self.model.leases.items()):
            if held.dead or (held.expired and (gap_s == 1.5 or held.spared)):
                lost.append(self.model.leases.pop(name))
            elif held.expired:
                held.expired, held.spared = False, True
        assert taken == len(lost)
        for held in lost:
            job = self.model.jobs.get(held.job.id)
            if job is None or job.deleted:
                continue
            if job.status == "started":
                self.model.lose(job, self.settings.max_attempts)
            else:
                job.undone += 1
                if job.undone % UNDONE_PER_LOSS == 0:
                    self.model.lose(job, self.settings.max_attempts)
        for job_id, job in list(self.model.jobs.items()):
            if job.deleted and job.status in ("queued", "started"):
                self.assert_gone(job_id)

    def assert_gone(self, job_id: str) -> None:
        """Check that no listing has this id any more."""
        for key in (keys.INDEX, keys.ENDED, keys.STRAYS):
            assert self.client.zscore(key, job_id) is None, key
        for status in JobStatus:
            assert self.client.zscore(f"{keys.INDEX}:{status}", job_id) is None
        for priority in Priority:
            assert self.client.zscore(keys.PENDING + priority, job_id) is None

    # Faults

    @rule(
        kind=st.sampled_from(["clock", "garble", "delete", "foreign", "stock"]),
        number=numbers,
        forward=st.booleans(),
    )
    def fault(self, kind: str, number: int, forward: bool) -> None:
        """Something from outside: a stepped clock, another version, RQ's tools, a stock worker."""
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
        """Step Redis's clock: all that was written lies so many seconds further back."""
        for key in [keys.WORKERS, keys.BUSY, keys.ENDED, keys.STRAYS]:
            for name, score in self.client.zrange(key, 0, -1, withscores=True):
                self.client.zadd(key, {name: score - seconds})
        for queue in QUEUES:
            for name, score in self.client.zrange(keys.RQ_WIP + queue, 0, -1, withscores=True):
                if score > 1:
                    self.client.zadd(keys.RQ_WIP + queue, {name: score - seconds})
                    self.model.leases[name].expired = score - seconds < time.time()

    def garble(self, number: int) -> None:
        """A job's submission is one that no worker here can read."""
        job_id = self.pick(number, "queued")
        in_hand = [held.job.id for held in self.model.leases.values()]
        if job_id and job_id not in in_hand:
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

    # What must be true

    @invariant()
    def each_job_is_as_the_model_has_it(self) -> None:
        """State and charges are those of the model; terminal states never change."""
        for job_id, job in self.model.jobs.items():
            if job.deleted:
                continue
            hash_ = self.client.hgetall(keys.RQ_JOB + job_id)
            assert hash_["status"] == job.status
            for name in ("attempts", "losses", "returns"):
                assert int(hash_.get(f"voxelq_{name}", 0)) == getattr(job, name), name
            results = int(job.status in ("finished", "failed"))
            assert self.client.xlen(keys.RQ_RESULTS + job_id) == results

    @invariant()
    def each_job_is_in_one_place(self) -> None:
        """A job stands in its queue, or in one hand, or in one registry of RQ's."""
        places: dict[str, list[str]] = {}
        leases = set()
        for queue in QUEUES:
            for job_id in self.client.lrange(keys.RQ_QUEUE + queue, 0, -1):
                places.setdefault(job_id, []).append("queued")
            drawn = self.client.lrange(keys.RQ_QUEUE + queue + keys.RQ_INTERMEDIATE, 0, -1)
            for name in self.client.zrange(keys.RQ_WIP + queue, 0, -1):
                leases.add(name)
                job_id = name.split(":")[0]
                places.setdefault(job_id, []).append("drawn" if job_id in drawn else "begun")
            for status, registry in (
                ("finished", keys.RQ_FINISHED),
                ("failed", keys.RQ_FAILED),
                ("canceled", keys.RQ_CANCELED),
            ):
                for job_id in self.client.zrange(registry + queue, 0, -1):
                    places.setdefault(job_id, []).append(status)
        assert leases == set(self.model.leases)
        held = {one.job.id for one in self.model.leases.values()}
        for job_id, job in self.model.jobs.items():
            if job.deleted:
                continue
            place = job.status
            if job_id in held:
                place = "drawn" if job.status == "queued" else "begun"
            assert places.get(job_id) == [place], job_id
        for job_id in self.model.foreign:
            assert places.get(job_id) in (["queued"], ["failed"])

    @invariant()
    def listings_equal_the_hashes(self) -> None:
        """The listings hold the jobs that are there, each in its state, and no more."""
        gone = {job_id for job_id, job in self.model.jobs.items() if job.deleted}
        jobs = {job_id: job for job_id, job in self.model.jobs.items() if not job.deleted}
        assert set(self.client.zrange(keys.INDEX, 0, -1)) - gone == set(jobs)
        for status in JobStatus:
            listed = set(self.client.zrange(f"{keys.INDEX}:{status}", 0, -1)) - gone
            assert listed == {job_id for job_id, job in jobs.items() if job.status == status}
        ended = set(self.client.zrange(keys.ENDED, 0, -1)) - gone
        terminal = {
            job_id for job_id, job in jobs.items() if job.status not in ("queued", "started")
        }
        assert ended == terminal
        held = {one.job.id for one in self.model.leases.values()}
        for priority in Priority:
            pending = set(self.client.zrange(keys.PENDING + priority, 0, -1)) - gone
            assert pending == {
                job_id
                for job_id, job in jobs.items()
                if job.status == "queued"
                and job_id not in held
                and job.queue.endswith(f":{priority}")
            }

    @invariant()
    def counters_equal_what_they_count(self) -> None:
        """Jobs are counted once when they end, however often a settle is repeated."""
        counted = self.client.hgetall(keys.METRICS)
        for status in ("finished", "failed", "canceled"):
            total = float(counted.get(f'jobs_total{{status="{status}"}}', 0))
            assert total == self.model.ended.get(status, 0)


def test_the_queue_keeps_its_promises_in_any_order(valkey: Valkey, settings: Settings) -> None:
    """Whatever happens in whatever order, every job is where it should be, once."""
    patient = settings.model_copy(update={"lease_s": 30.0, "redis_url": valkey.url})
    run_state_machine_as_test(
        partial(QueueStates, patient),  # type: ignore[arg-type]
        settings=hypothesis_settings(
            max_examples=100,
            stateful_step_count=50,
            deadline=None,
            phases=[Phase.reuse, Phase.generate],
        ),
    )
