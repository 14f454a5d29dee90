"""The scans of one batch, each on its own: what is wrong with one ends that one and no other."""

import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

from shared.errors import JobLost
from worker.pipeline.outcomes import LeasedJob, Outcome, Retry
from worker.pipeline.stages import Scan

S = TypeVar("S", bound=Scan)
T = TypeVar("T")


class BatchScans:
    """Keeps the errors of a batch's scans, and which of its jobs were lost.

    ``is_lost`` returns whether a job's outcome would be dropped; its remaining stages are skipped.
    """

    def __init__(self, jobs: Sequence[LeasedJob], is_lost: Callable[[LeasedJob], bool]) -> None:
        self._jobs = jobs
        self._is_lost = is_lost
        self._lost: dict[str, Outcome] = {}
        self._errors: dict[str, Exception] = {}

    @property
    def lost(self) -> dict[str, Outcome]:
        """By job, the outcomes of those that were lost."""
        return self._lost

    @property
    def errors(self) -> list[tuple[LeasedJob, Exception]]:
        """What was raised for each job that was not lost, in the batch's order."""
        return [
            (job, self._errors[job.id])
            for job in self._jobs
            if job.id in self._errors and job.id not in self._lost
        ]

    def remaining(self, scans: Sequence[S]) -> list[S]:
        """Return the scans whose jobs were not lost meanwhile."""
        for job in self._jobs:
            if job.id not in self._lost and self._is_lost(job):
                self._lost[job.id] = Retry(JobLost("Its lease was lost.").problem())
        return [scan for scan in scans if scan.job.id not in self._lost]

    def fail(self, job: LeasedJob, error: Exception) -> None:
        """Keep the error of a scan."""
        self._errors[job.id] = error

    def each(
        self, stage: Callable[[S], T], scans: Sequence[S], executor: Executor | None = None
    ) -> list[T]:
        """Run one stage for every scan; return what became of those without an error.

        Several scans run in the threads of an executor, if there is one.
        """
        run = partial(self._run, stage)
        done = executor.map(run, scans) if executor and len(scans) > 1 else map(run, scans)
        return [scan for scan in done if scan is not None]

    def _run(self, stage: Callable[[S], T], scan: S) -> T | None:
        try:
            return stage(scan)
        except Exception as error:  # what is wrong with one scan must not end the others
            # The frames hold what was allocated, and other scans need the memory.
            traceback.clear_frames(error.__traceback__)
            self.fail(scan.job, error)
            return None
