"""The jobs that a worker holds, and the outcomes that a job may have."""

from dataclasses import dataclass
from typing import Any

from shared.jobs import Submission
from shared.results import Report
from worker.pipeline.trouble import Trouble


@dataclass(frozen=True)
class LeasedJob:
    """A drawn job and its lease."""

    submission: Submission
    execution: str
    queue: str
    losses: int

    @property
    def id(self) -> str:
        """The job's id."""
        return self.submission.id

    @property
    def alone(self) -> bool:
        """Whether the job must run alone, because a worker was lost with it before."""
        return self.losses > 0

    @property
    def lease(self) -> tuple[str, str, str]:
        """The lease's key in the scripts."""
        return (self.id, self.execution, self.queue)


@dataclass(frozen=True)
class Finished:
    """The job has its mask."""

    report: Report


@dataclass(frozen=True)
class Failed:
    """The job ends with this RFC 9457 problem: its scan or its model is at fault."""

    problem: dict[str, Any]


@dataclass(frozen=True)
class Retry:
    """The job goes back to the queue after a fault that may pass.

    ``problem`` is what the job fails with if it does not pass.
    """

    problem: dict[str, Any]


@dataclass(frozen=True)
class Returned:
    """The job goes back to the queue uncharged: its worker cannot compute any such job.

    ``problem`` is what the job fails with if it is returned too often.
    """

    problem: dict[str, Any]
    trouble: Trouble


Outcome = Finished | Failed | Retry | Returned
