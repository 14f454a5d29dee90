"""One row of the table of faults: how it is tried, and its result."""

import time
from dataclasses import dataclass, field
from typing import Any

from benchmarks.faults import invariants
from benchmarks.faults.injectors import Injector
from benchmarks.faults.jobs import Jobs
from benchmarks.faults.service import FaultedService, Kind
from benchmarks.faults.stages import Stage, idle

SOLO = Kind()


@dataclass(frozen=True)
class Row:
    """A fault, the stage that it hits, and the seconds until the service must be ready again.

    The fault lasts for ``hold_s``; the seconds count from its end. What it leaves on disk may stay
    for ``days_later``, in a service whose clock can be stepped.
    """

    name: str
    inject: Injector
    stage: Stage = idle
    bound_s: float = 30.0
    hold_s: float = 0.0
    kind: Kind = SOLO
    days_later: int = 0


@dataclass
class Trial:
    """The result of a row; ``violations`` are those of the invariants."""

    row: Row
    ready_s: float | None = None
    accepted: int = 0
    refused: int = 0
    violations: list[str] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """Return the trial as a row of a table."""
        return {
            "fault": self.row.name,
            "stage": self.row.stage.__name__.replace("_", " "),
            "held_s": self.row.hold_s,
            "ready_s": None if self.ready_s is None else round(self.ready_s, 2),
            "bound_s": self.row.bound_s,
            "accepted": self.accepted,
            "refused": self.refused,
            "violations": self.violations,
        }


def try_row(service: FaultedService, row: Row, *, before: int = 4, during: int = 2) -> Trial:
    """Inject a row's fault; submit healthy scans ``before`` it and ``during`` it."""
    jobs, trial = Jobs(service), Trial(row)
    try:
        with jobs.polled():
            _inject(service, row, jobs, before, during)
            trial.ready_s = invariants.seconds_until_ready(service, jobs, row.bound_s)
        trial.violations = invariants.violations(
            service, jobs, row.bound_s, days_later=row.days_later
        )
    except invariants.NotReady as error:
        trial.violations = [str(error), *invariants.unhealthy(jobs), *sorted(set(jobs.unexpected))]
    trial.accepted, trial.refused = len(jobs.accepted), jobs.refused
    return trial


def _inject(service: FaultedService, row: Row, jobs: Jobs, before: int, during: int) -> None:
    with service.client() as client:
        for _ in range(before):
            jobs.submit(client)
    staged = row.stage(service, jobs)
    target = staged.__enter__()
    try:
        fault = row.inject(service, jobs, target)
        fault.__enter__()
    finally:
        staged.__exit__(None, None, None)
    try:
        until_s = time.monotonic() + row.hold_s
        with service.client(2.0) as client:
            for _ in range(during):
                jobs.submit(client)
        time.sleep(max(0.0, until_s - time.monotonic()))
    finally:
        fault.__exit__(None, None, None)
