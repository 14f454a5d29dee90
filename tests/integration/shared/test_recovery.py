"""The recovery of jobs that the queue lost and the store still has."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis import Redis
from ulid import ULID

from benchmarks.common.noop_worker import empty_report
from shared.errors import JobNotFound
from shared.jobs import JobStatus, Priority, Submission
from shared.queue import keys
from shared.queue.data_set import DataSet
from shared.queue.job_queue import JobQueue
from shared.results import BatchInfo, Report
from shared.settings import Settings
from shared.storage.identity import StoreIdentity
from shared.storage.job_records import JobRecord, JobRecords, report_key
from shared.storage.recovery import Recovered, Recovery
from shared.storage.store import ScanStore
from tests.conftest import Valkey
from tests.support.jobs import submission
from worker.pipeline.outcomes import Finished, LeasedJob
from worker.queueing.connection import connect
from worker.queueing.leases import Leases, WorkerFacts

FACTS = WorkerFacts("worker-1", "cpu", None)
A_MINUTE_AGO = datetime.now(UTC) - timedelta(minutes=1)
_NUMBERS = itertools.count()


@pytest.fixture
def redis(settings: Settings) -> Iterator[Redis]:
    """A client of this test's server."""
    with connect(settings) as opened:
        yield opened


@pytest.fixture
def recovery(redis: Redis, store: ScanStore, settings: Settings) -> Recovery:
    """The recovery of this test's queue."""
    return Recovery(redis, store, settings)


@pytest.fixture
def records(store: ScanStore) -> JobRecords:
    """The records in this test's store."""
    return JobRecords(store)


def stored(store: ScanStore, service: str = "ours", **changes: Any) -> Submission:
    """Return a submission of a minute ago whose scan and record are in the store."""
    created_at = changes.get("created_at", A_MINUTE_AGO)
    # ids of one millisecond have no order
    job_id = str(ULID.from_datetime(created_at + timedelta(milliseconds=next(_NUMBERS))))
    job = submission(**{"id": job_id, "created_at": created_at, **changes})
    store.write(store.scan_key(job.id, "scan", gzipped=False), b"volume")
    JobRecords(store).write(JobRecord(service=service, submission=job))
    return job


def reported(store: ScanStore, leased: LeasedJob) -> Report:
    """Return the report of an execution whose mask and report are in the store."""
    mask = f"{store.folder(leased.id)}/{leased.execution}.mask.nii.gz"
    store.write(mask, b"mask")
    report = empty_report(leased, "worker-1", BatchInfo(id="b", size=1)).model_copy(
        update={"artefacts": {"mask": mask, "preview": mask}}
    )
    JobRecords(store).write_report(leased.id, leased.execution, report)
    return report


async def test_all_that_was_lost_comes_back(
    queue: JobQueue, leases: Leases, redis: Redis, store: ScanStore, recovery: Recovery
) -> None:
    """Every job of an emptied queue is recovered: finished if it has a mask, else queued."""
    jobs = [stored(store) for _ in range(3)]
    for job in jobs:
        await queue.submit(job)
    done, started, waits = jobs
    leased, other = leases.begin(leases.draw(2).jobs, FACTS)
    assert [leased.id, other.id] == [done.id, started.id]
    report = reported(store, leased)
    leases.settle([(leased, Finished(report))], FACTS, batch_s=1, metrics={})
    before = await queue.get(done.id)
    redis.flushall()

    assert recovery.recover("ours", {"ours"}) == Recovered(queued=2, finished=1)
    after = await queue.get(done.id)
    assert after.status is JobStatus.FINISHED
    assert after.report == before.report == report
    assert after.worker == before.worker
    assert after.finished_at == A_MINUTE_AGO + timedelta(seconds=report.timings_s.total)
    assert [(await queue.get(job.id)).position for job in (started, waits)] == [0, 1]
    assert [leased.id for leased in leases.draw(5).jobs] == [started.id, waits.id]
    assert recovery.recover("ours", {"ours"}) == Recovered()


async def test_a_job_keeps_its_place_and_its_priority(
    queue: JobQueue, leases: Leases, store: ScanStore, recovery: Recovery
) -> None:
    """Recovered jobs are ahead of later ones, in the order of their submission."""
    a_minute_ago = datetime.now(UTC) - timedelta(minutes=1)  # younger than AGING_S
    jobs = [
        stored(store, priority=priority, created_at=a_minute_ago + timedelta(seconds=number))
        for number, priority in enumerate([Priority.BULK, *[Priority.ROUTINE] * 3, Priority.STAT])
    ]
    later = submission()
    await queue.submit(later)
    recovery.recover("ours", {"ours"})
    bulk, first, second, third, stat = (job.id for job in jobs)
    drawn = [leased.id for _ in range(6) for leased in leases.draw(1).jobs]
    assert drawn == [stat, first, second, third, later.id, bulk]


async def test_what_the_queue_knows_stays_as_it_is(
    queue: JobQueue, store: ScanStore, recovery: Recovery
) -> None:
    """A job that is in Redis is left unchanged, with any status."""
    waits, canceled = stored(store), stored(store)
    for job in (waits, canceled):
        await queue.submit(job)
    await queue.cancel(canceled.id)
    before = [await queue.get(job.id) for job in (waits, canceled)]
    assert recovery.recover("ours", {"ours"}) == Recovered()
    assert [await queue.get(job.id) for job in (waits, canceled)] == before


async def test_a_report_without_its_mask_is_none(
    queue: JobQueue, store: ScanStore, records: JobRecords, recovery: Recovery
) -> None:
    """A job is recovered as finished only if a readable report names an existing mask."""
    jobs = [stored(store) for _ in range(3)]
    leased_jobs = [LeasedJob(job, "execution", "queue", 0) for job in jobs]
    reports = [reported(store, leased) for leased in leased_jobs]
    store.delete(reports[0].artefacts["mask"])
    store.write(report_key(jobs[1].id, "execution"), b'{"half": ')
    assert records.find_report(jobs[2].id) is not None
    assert recovery.recover("ours", {"ours"}) == Recovered(queued=2, finished=1)
    assert (await queue.get(jobs[2].id)).status is JobStatus.FINISHED


async def test_another_services_jobs_are_counted_only(
    queue: JobQueue, store: ScanStore, records: JobRecords, recovery: Recovery
) -> None:
    """Jobs of another data set are recovered only on request, and then belong to this one."""
    theirs = [stored(store, "theirs") for _ in range(2)]
    ours = stored(store)
    assert recovery.count_lost() == {"ours": 1, "theirs": 2}
    found = recovery.recover("ours", {"ours"})
    assert (found.queued, found.others) == (1, {"theirs": 2})
    with pytest.raises(JobNotFound):
        await queue.get(theirs[0].id)
    assert recovery.recover("ours", {"ours", "theirs"}).queued == 2
    assert {records.service_of(job.id) for job in (*theirs, ours)} == {"ours"}
    assert recovery.count_lost() == {}


def test_recovery_needs_no_disk(redis: Redis, settings: Settings) -> None:
    """Jobs are recovered from a store that is not a file system, too."""
    store = ScanStore(f"memory://{settings.store_url.rsplit('/', 2)[-2]}")
    StoreIdentity(redis, store).probe()
    StoreIdentity(redis, store).check()
    waits, done = stored(store), stored(store)
    reported(store, LeasedJob(done, "execution", "queue", 0))
    recovery = Recovery(redis, store, settings)
    assert recovery.is_lost(waits.id, {"ours"})
    assert recovery.recover("ours", {"ours"}) == Recovered(queued=1, finished=1)
    assert not recovery.is_lost(waits.id, {"ours"})


def test_what_has_no_record_is_left(store: ScanStore, recovery: Recovery) -> None:
    """An upload without a record is no job; a damaged record is counted and left alone."""
    bare, damaged, forged = stored(store), stored(store), stored(store)
    JobRecords(store).remove(bare.id)
    store.replace(f"{store.folder(damaged.id)}/job.json", b'{"service": "ours", "submission": 1}')
    copy = JobRecord(service="ours", submission=bare).model_dump_json().encode()
    store.replace(f"{store.folder(forged.id)}/job.json", copy)
    assert recovery.recover("ours", {"ours"}) == Recovered(unreadable=2)


def test_a_submit_under_way_is_left(store: ScanStore, recovery: Recovery) -> None:
    """A very young record waits, because its submit may still be running."""
    stored(store, created_at=datetime.now(UTC))
    assert recovery.recover("ours", {"ours"}) == Recovered(waiting=1)


async def test_a_late_outcome_of_a_recovered_job_is_no_second_one(
    queue: JobQueue, leases: Leases, redis: Redis, store: ScanStore, recovery: Recovery
) -> None:
    """A worker that settles a job after it was recovered from its report keeps its outcome."""
    job = stored(store)
    await queue.submit(job)
    (leased,) = leases.begin(leases.draw(1).jobs, FACTS)
    report = reported(store, leased)
    redis.flushall()
    recovery.recover("ours", {"ours"})
    dropped = leases.settle([(leased, Finished(report))], FACTS, batch_s=1, metrics={})
    assert dropped == []
    assert (await queue.get(job.id)).report == report


async def test_a_job_that_was_withdrawn_meanwhile_does_not_run(
    queue: JobQueue,
    store: ScanStore,
    records: JobRecords,
    recovery: Recovery,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A job whose record is removed during its recovery is cancelled."""
    job = stored(store)
    find_report = JobRecords.find_report

    def withdraw(self: JobRecords, job_id: str) -> object:
        records.remove(job_id)
        return find_report(self, job_id)

    monkeypatch.setattr(JobRecords, "find_report", withdraw)
    assert recovery.recover("ours", {"ours"}) == Recovered()
    assert (await queue.get(job.id)).status is JobStatus.CANCELED


def test_a_lost_data_set_gets_its_id_back(redis: Redis) -> None:
    """A process that knows the id writes it again, and reports the loss once."""
    data_set = DataSet(redis)
    own = data_set.id()
    assert not data_set.may_have_lost_jobs()
    redis.flushall()
    assert data_set.may_have_lost_jobs()
    assert redis.get(keys.SERVICE) == own.encode()
    assert not data_set.may_have_lost_jobs()
    assert data_set.ids == {own}


def test_a_data_set_that_was_replaced_is_seen(redis: Redis) -> None:
    """If another process wrote a new id into an emptied Redis, both ids count as known."""
    data_set = DataSet(redis)
    own = data_set.id()
    redis.flushall()
    other = DataSet(redis).id()
    assert data_set.may_have_lost_jobs()
    assert data_set.id() == other
    assert data_set.ids == {own, other}


def test_a_server_that_was_started_again_is_suspicious(valkey: Valkey, redis: Redis) -> None:
    """After a restart the last jobs may be missing, so it counts as a possible loss."""
    data_set = DataSet(redis)
    assert data_set.may_have_lost_jobs()
    assert not data_set.may_have_lost_jobs()
    valkey.kill()
    valkey.start()
    assert data_set.may_have_lost_jobs()
    assert not data_set.may_have_lost_jobs()


def test_a_server_without_info_is_accepted(redis: Redis, settings: Settings) -> None:
    """A Redis user without the right to call INFO still gets the data set's id."""
    redis.acl_setuser("plain", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-info"])
    try:
        port = settings.redis_url.rsplit(":", 1)[1].removesuffix("/0")
        with Redis.from_url(f"redis://plain:any@127.0.0.1:{port}/0") as plain:
            data_set = DataSet(plain)
            assert data_set.may_have_lost_jobs()
            assert not data_set.may_have_lost_jobs()
            assert redis.get(keys.SERVICE) == data_set.id().encode()
    finally:
        redis.acl_deluser("plain")
