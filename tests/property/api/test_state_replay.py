"""The earlier states of a job, computed from its present one."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from api.live.state_replay import state_number, states_between
from shared.jobs import TRANSITIONS, Job, JobStatus
from tests.support.jobs import submission

SUBMISSION = submission()


def states(outcomes: list[bool], end: JobStatus | None) -> list[Job]:
    """Return a job in each state of its life, with these lost attempts and this end."""
    job = Job(submission=SUBMISSION, status=JobStatus.QUEUED, attempts=0)
    life = [job]

    def become(status: JobStatus, **changes: object) -> None:
        assert (life[-1].status, status) in TRANSITIONS
        life.append(life[-1].model_copy(update={"status": status, **changes}))

    for lost in outcomes:
        now = datetime.now(UTC)
        become(JobStatus.STARTED, attempts=life[-1].attempts + 1, started_at=now)
        if lost:
            become(JobStatus.QUEUED, losses=life[-1].losses + 1)
        else:
            break
    if end is JobStatus.FAILED and life[-1].status is JobStatus.QUEUED and outcomes:
        return life  # it looks the same as a job that failed in its last attempt
    if end and (life[-1].status, end) in TRANSITIONS:
        become(end, finished_at=datetime.now(UTC))
    return life


lives = st.builds(
    states,
    st.lists(st.booleans(), max_size=4),
    st.sampled_from([None, JobStatus.FINISHED, JobStatus.FAILED, JobStatus.CANCELED]),
)


@given(lives)
def test_numbers_of_states_grow(life: list[Job]) -> None:
    """Each state of a job has a higher number than the one before."""
    numbers = [state_number(job) for job in life]
    assert numbers == sorted(set(numbers))


@given(lives, st.data())
def test_what_was_missed_is_known(life: list[Job], data: st.DataObject) -> None:
    """The states between a client's last one and the present one are yielded in order."""
    seen = data.draw(st.integers(0, len(life) - 1))
    replayed = list(states_between(state_number(life[seen]), life[-1]))
    missed = life[seen + 1 : -1]
    facts = [(job.status, job.attempts, job.losses, job.progress) for job in replayed]
    assert facts == [(job.status, job.attempts, job.losses, 0.0) for job in missed]
    assert [state_number(job) for job in replayed] == [state_number(job) for job in missed]
    assert all(job.finished_at is None and job.report is None for job in replayed)
