"""The earlier states of a job, computed from its present state.

States have increasing numbers: 1 is the first wait in the queue, 2 the first attempt, 3 the wait
after that attempt was lost, 4 the second attempt, and so on; the terminal state has the even number
after the last wait that is possible. A job returns to the queue in one way only, so its counts of
attempts and losses determine its earlier states, and no history is stored.
"""

from collections.abc import Iterator

from shared.jobs import Job, JobStatus, Stage


def state_number(job: Job) -> int:
    """Return the number of the state that a job is in."""
    if job.status is JobStatus.STARTED:
        return 2 * job.attempts
    return 2 * job.attempts + (2 if job.status.terminal else 1)


def states_between(seen: int, job: Job) -> Iterator[Job]:
    """Yield the job in each state after number ``seen`` and before its present one, in order.

    The position in the queue is not known for a past wait; it is None.
    """
    last = state_number(job) - 1
    if job.status.terminal and not _ended_in_queue(job):
        last -= 1
    for number in range(seen + 1, last + 1):
        yield _as_it_was(job, number)


def _ended_in_queue(job: Job) -> bool:
    """Return whether a terminal job was cancelled while queued, or failed before it ever started.

    A job that failed in a later wait looks the same as one that failed in its last attempt.
    """
    if job.attempts == 0:
        return True
    return job.status is JobStatus.CANCELED and job.losses + job.returns >= job.attempts


def _as_it_was(job: Job, number: int) -> Job:
    attempts, started = number // 2, number % 2 == 0
    return job.model_copy(
        update={
            "status": JobStatus.STARTED if started else JobStatus.QUEUED,
            "attempts": attempts,
            "losses": attempts - started,
            "returns": 0,
            "started_at": job.started_at if attempts else None,
            "finished_at": None,
            "position": None,
            "eta_s": None,
            "progress": 0.0,
            "stage": Stage.LOAD if started else None,
            "report": None,
            "error": None,
        }
    )
