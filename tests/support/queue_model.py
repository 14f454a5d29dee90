"""A model of the queue: the state of jobs and leases after each event.

It is plain Python and knows nothing of Redis, so that a test can compare the queue's scripts with
it step by step.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from shared.jobs import JobStatus
from worker.pipeline.outcomes import Failed, Finished, LeasedJob, Outcome, Retry, Returned

#: Draws without a begin, after which a job is charged with a loss.
UNDONE_DRAWS_PER_LOSS = 10

LIVE = ("queued", "started")


@dataclass
class JobModel:
    """The state that a job must have."""

    queue: str
    status: str = "queued"
    attempts: int = 0
    losses: int = 0
    returns: int = 0
    undone_draws: int = 0
    garbled: bool = False
    deleted: bool = False


@dataclass
class LeaseModel:
    """The state that a lease must have."""

    job: LeasedJob
    worker: str
    expired: bool = False
    dead: bool = False
    spared: bool = False


def lease_name(leased: LeasedJob) -> str:
    """Return a lease's name in RQ's registry."""
    return f"{leased.id}:{leased.execution}"


@dataclass
class QueueModel:
    """The state that the whole queue must have.

    ``active`` holds the jobs that each worker believes to hold, ``keys`` the job of each
    idempotency key, ``foreign`` the jobs that a stock client queued, and ``ended`` how many jobs
    ended with each status.
    """

    workers: Sequence[str]
    max_attempts: int
    jobs: dict[str, JobModel] = field(default_factory=dict)
    leases: dict[str, LeaseModel] = field(default_factory=dict)
    active: dict[str, list[LeasedJob]] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    ended: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.active = {worker: [] for worker in self.workers}

    def present(self, *statuses: str) -> list[str]:
        """Return the ids of jobs that were not deleted, in these states or in any."""
        return [
            job_id
            for job_id, job in self.jobs.items()
            if not job.deleted and (not statuses or job.status in statuses)
        ]

    def job_of(self, leased: LeasedJob) -> JobModel:
        """Return the job of a lease; a deleted one if it was purged."""
        return self.jobs.get(leased.id, JobModel("", deleted=True))

    def end(self, job: JobModel, status: str) -> None:
        """A job reaches a terminal state."""
        job.status = status
        self.ended[status] = self.ended.get(status, 0) + 1

    def lose(self, job: JobModel) -> None:
        """A job is charged with a loss, and fails after too many."""
        job.losses += 1
        job.status = "queued"
        if job.losses >= self.max_attempts:
            self.end(job, "failed")

    def cancel(self, job_id: str) -> None:
        """A live job is cancelled, and its lease ends."""
        self.end(self.jobs[job_id], "canceled")
        for name in [name for name in self.leases if name.startswith(job_id)]:
            del self.leases[name]

    def purge(self, job_ids: Iterable[str]) -> None:
        """Terminal jobs are purged, and their idempotency keys are free again."""
        for job_id in job_ids:
            self.jobs.pop(job_id, None)
            self.foreign.discard(job_id)
        self.keys = {key: job_id for key, job_id in self.keys.items() if job_id in self.jobs}

    def draw(self, leased_jobs: Sequence[LeasedJob], worker: str) -> None:
        """A worker draws jobs, each with a lease."""
        for leased in leased_jobs:
            self.leases[lease_name(leased)] = LeaseModel(leased, worker)
        self.active[worker] += leased_jobs

    def begin(self, drawn: Sequence[LeasedJob]) -> list[LeasedJob]:
        """A worker begins drawn jobs; return those that it still holds."""
        begun = []
        for leased in drawn:
            job = self.job_of(leased)
            if lease_name(leased) in self.leases and not job.deleted:
                begun.append(leased)
                job.status, job.attempts, job.undone_draws = "started", job.attempts + 1, 0
            else:
                self.leases.pop(lease_name(leased), None)
        return begun

    def settle(self, settled: Sequence[tuple[LeasedJob, Outcome]]) -> list[LeasedJob]:
        """A worker settles a batch; return the jobs whose outcomes are dropped."""
        dropped = []
        for leased, outcome in settled:
            job = self.job_of(leased)
            if self.leases.pop(lease_name(leased), None) is None or job.deleted:
                dropped.append(leased)
                continue
            match outcome:
                case Finished():
                    self.end(job, "finished")
                case Failed():
                    self.end(job, "failed")
                case Retry():
                    self.lose(job)
                case Returned():
                    job.status, job.returns = "queued", job.returns + 1
        return dropped

    def give_back(self, worker: str) -> int:
        """A worker gives all its jobs back; return how many it still held."""
        returned = 0
        for leased in self.active[worker]:
            job = self.job_of(leased)
            if self.leases.pop(lease_name(leased), None) and not job.deleted:
                job.returns += job.status == "started"
                job.status = "queued"
                returned += 1
        self.active[worker] = []
        return returned

    def extend(self, worker: str) -> list[LeasedJob]:
        """A worker extends its leases; return those that it has lost."""
        lost = []
        for leased in self.active[worker]:
            lease = self.leases.get(lease_name(leased))
            if lease and self.jobs[leased.id].deleted:
                del self.leases[lease_name(leased)]
                lease = None
            if lease:
                lease.expired = lease.spared = False
            else:
                lost.append(leased)
        return lost

    def die(self, worker: str) -> None:
        """A worker dies, and its leases end."""
        for lease in self.leases.values():
            lease.dead |= lease.worker == worker
        self.active[worker] = []

    def expire(self, worker: str) -> list[LeasedJob]:
        """A worker's leases run out; return their jobs."""
        held = [leased for leased in self.active[worker] if lease_name(leased) in self.leases]
        for leased in held:
            self.leases[lease_name(leased)].expired = True
        return held

    def reap(self, *, may_spare: bool) -> int:
        """Leases that ran out are reaped; return how many.

        If ``may_spare``, live workers could not extend their leases, so that each lease is extended
        once before it is reaped.
        """
        lost = []
        for name, lease in list(self.leases.items()):
            if lease.dead or (lease.expired and (not may_spare or lease.spared)):
                lost.append(self.leases.pop(name))
            elif lease.expired:
                lease.expired, lease.spared = False, True
        for lease in lost:
            job = self.job_of(lease.job)
            if job.deleted:
                continue
            if job.status != "started":
                job.undone_draws += 1
            if job.status == "started" or job.undone_draws % UNDONE_DRAWS_PER_LOSS == 0:
                self.lose(job)
        return len(lost)

    @property
    def leased_ids(self) -> set[str]:
        """The ids of all jobs that have a lease."""
        return {lease.job.id for lease in self.leases.values()}

    def place(self, job_id: str) -> str:
        """Return where a job must be: its status, or whether its lease is drawn or begun."""
        job = self.jobs[job_id]
        if job_id not in self.leased_ids:
            return job.status
        return "drawn" if job.status == JobStatus.QUEUED else "begun"
