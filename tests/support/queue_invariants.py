"""Checks that jobs and leases on the server are those of a `QueueModel`."""

from collections.abc import Sequence
from typing import Any

from shared.jobs import JobStatus, Priority
from shared.queue import keys
from tests.support.queue_model import LIVE, QueueModel


def check_jobs(client: Any, model: QueueModel) -> None:
    """Check states and charges of all jobs, and that each ended job has one result."""
    for job_id in model.present():
        job = model.jobs[job_id]
        hash_ = client.hgetall(keys.RQ_JOB + job_id)
        assert hash_["status"] == job.status
        for name in ("attempts", "losses", "returns"):
            assert int(hash_.get(f"voxelq_{name}", 0)) == getattr(job, name), name
        results = int(job.status in ("finished", "failed"))
        assert client.xlen(keys.RQ_RESULTS + job_id) == results


def check_places(client: Any, model: QueueModel, queues: Sequence[str]) -> None:
    """Check that a job is in its queue, or has one lease, or is in one of RQ's registries."""
    places: dict[str, list[str]] = {}
    leases = set()
    for queue in queues:
        for job_id in client.lrange(keys.RQ_QUEUE + queue, 0, -1):
            places.setdefault(job_id, []).append("queued")
        drawn = client.lrange(keys.RQ_QUEUE + queue + keys.RQ_INTERMEDIATE, 0, -1)
        for name in client.zrange(keys.RQ_WIP + queue, 0, -1):
            leases.add(name)
            job_id = name.split(":")[0]
            places.setdefault(job_id, []).append("drawn" if job_id in drawn else "begun")
        for status, registry in (
            ("finished", keys.RQ_FINISHED),
            ("failed", keys.RQ_FAILED),
            ("canceled", keys.RQ_CANCELED),
        ):
            for job_id in client.zrange(registry + queue, 0, -1):
                places.setdefault(job_id, []).append(status)
    assert leases == set(model.leases)
    for job_id in model.present():
        assert places.get(job_id) == [model.place(job_id)], job_id
    for job_id in model.foreign:
        assert places.get(job_id) in (["queued"], ["failed"])


def check_listings(client: Any, model: QueueModel) -> None:
    """Check that the listings hold exactly the jobs that exist, each under its state."""
    deleted = {job_id for job_id, job in model.jobs.items() if job.deleted}

    def listed(key: str) -> set[str]:
        return set(client.zrange(key, 0, -1)) - deleted

    assert listed(keys.INDEX) == set(model.present())
    for status in JobStatus:
        assert listed(f"{keys.INDEX}:{status}") == set(model.present(status))
    assert listed(keys.ENDED) == set(model.present()) - set(model.present(*LIVE))
    pending = set(model.present("queued")) - model.leased_ids
    for priority in Priority:
        assert listed(keys.PENDING + priority) == {
            job_id for job_id in pending if model.jobs[job_id].queue.endswith(f":{priority}")
        }


def check_counters(client: Any, model: QueueModel) -> None:
    """Check that each job is counted once when it ends, however often its settle is repeated."""
    counted = client.hgetall(keys.METRICS)
    for status in ("finished", "failed", "canceled"):
        total = float(counted.get(f'jobs_total{{status="{status}"}}', 0))
        assert total == model.ended.get(status, 0)


def check_gone(client: Any, job_id: str) -> None:
    """Check that no listing has this id any more."""
    for key in (keys.INDEX, keys.ENDED, keys.STRAYS):
        assert client.zscore(key, job_id) is None, key
    for status in JobStatus:
        assert client.zscore(f"{keys.INDEX}:{status}", job_id) is None
    for priority in Priority:
        assert client.zscore(keys.PENDING + priority, job_id) is None
