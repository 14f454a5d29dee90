"""The scans of one batch, each on its own."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.jobs import submission
from worker.pipeline.batch_scans import BatchScans
from worker.pipeline.outcomes import LeasedJob, Retry
from worker.pipeline.stages import Begun


def leased(count: int) -> list[LeasedJob]:
    """Return leased jobs."""
    return [LeasedJob(submission(), f"run-{n}", "queue", losses=0) for n in range(count)]


@pytest.mark.parametrize("threads", [False, True])
def test_an_error_ends_its_own_scan_only(threads: bool) -> None:
    """The other scans pass the stage in their order, one after another or in threads."""
    jobs = leased(5)
    batch = BatchScans(jobs, lambda _: False)

    def stage(scan: Begun) -> Begun:
        if scan.job is jobs[2]:
            raise ValueError
        return scan

    with ThreadPoolExecutor(2) as executor:
        done = batch.each(stage, [Begun(job) for job in jobs], executor if threads else None)
    assert [scan.job for scan in done] == [*jobs[:2], *jobs[3:]]
    ((job, error),) = batch.errors
    assert job is jobs[2]
    assert isinstance(error, ValueError)


def test_a_lost_job_has_no_error() -> None:
    """A job that was lost goes through no further stage, whether or not its scan had failed."""
    jobs, lost = leased(3), list[LeasedJob]()
    batch = BatchScans(jobs, lambda job: job in lost)
    batch.fail(jobs[0], ValueError())
    lost += jobs[:2]
    assert batch.remaining([Begun(job) for job in jobs[1:]]) == [Begun(jobs[2])]
    assert batch.errors == []
    assert batch.lost.keys() == {job.id for job in lost}
    assert all(isinstance(outcome, Retry) for outcome in batch.lost.values())
