"""The jobs that a worker holds, and the outcome that each of them comes to."""

from dataclasses import dataclass
from typing import Any

from shared.jobs import Submission
from shared.results import Report
from worker.pipeline.trouble import Trouble


@dataclass(frozen=True)
class LeasedJob:
    """A drawn job and the lease it is held by."""

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
        """Whether the job must run alone, since a worker was lost with it before."""
        return self.losses > 0

    @property
    def lease(self) -> tuple[str, str, str]:
        """What the scripts know the lease by."""
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
    """The job goes back to the queue: a fault that may pass, with the problem if it does not."""

    problem: dict[str, Any]


@dataclass(frozen=True)
class Returned:
    """The job goes back to the queue uncharged: its worker cannot serve it, whatever the scan.

    ``problem`` is what the job would fail with if it came back again and again.
    """

    problem: dict[str, Any]
    trouble: Trouble


Outcome = Finished | Failed | Retry | Returned
