"""What one follower of a job is sent."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.live import sse
from api.live.sse import HEARTBEAT, Follower, Snapshot
from shared.jobs import Job, JobStatus, Stage
from tests.support.jobs import submission

SUBMISSION = submission()


def queued(position: int) -> Job:
    """A job that waits."""
    return Job(submission=SUBMISSION, status=JobStatus.QUEUED, attempts=0, position=position)


def started(progress: float) -> Job:
    """A job in its first attempt."""
    return Job(
        submission=SUBMISSION,
        status=JobStatus.STARTED,
        attempts=1,
        progress=progress,
        stage=Stage.INFERENCE,
    )


CANCELED = Job(submission=SUBMISSION, status=JobStatus.CANCELED, attempts=1)


async def sent(follower: Follower) -> list[str]:
    """All that a follower is sent to the end."""
    return [message.decode() async for message in follower.messages()]


async def test_a_slow_client_misses_no_status_and_holds_no_memory() -> None:
    """Of all that happens while a client does not read it gets the newest of each state."""
    follower = Follower(None)
    follower.begin(queued(500))
    for position in range(499, -1, -1):
        follower.send(Snapshot.of(queued(position)))
    for step in range(1000):
        follower.send(Snapshot.of(started(step / 1000)))
    follower.send(Snapshot.of(CANCELED))
    messages = await sent(follower)
    assert len(messages) == 3
    assert '"position":0' in messages[0]
    assert '"progress":0.999' in messages[1]
    assert '"status":"canceled"' in messages[2]


async def test_what_is_told_before_the_beginning_is_part_of_it() -> None:
    """News that overtake the look at the state a client begins with are not sent before it."""
    follower = Follower(None)
    follower.send(Snapshot.of(started(0.5)))
    follower.begin(CANCELED)
    (only,) = await sent(follower)
    assert '"status":"canceled"' in only


async def test_a_client_with_nothing_to_hear_hears_heartbeats(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between messages comes a comment, and after `end` nothing."""
    monkeypatch.setattr(sse, "HEARTBEAT_S", 0.01)
    follower = Follower(None)
    follower.begin(queued(0))
    messages: AsyncIterator[bytes] = follower.messages()
    assert (await anext(messages)).startswith(b"event: job\n")
    assert [await anext(messages) for _ in range(3)] == [HEARTBEAT] * 3
    follower.end()
    assert [message async for message in messages if message != HEARTBEAT] == []


@given(st.integers(0, 2**53), st.lists(st.floats(0, 1), max_size=5))
async def test_ids_only_grow(last_id: int, told: list[float]) -> None:
    """Whatever id a client comes back with, every message's id is higher than all before."""
    follower = Follower(last_id)
    follower.begin(started(0.0))
    ids = []
    follower.end()
    for progress in told:
        ids += [int(one.split("\n")[1].removeprefix("id: ")) for one in await sent(follower)]
        follower.send(Snapshot.of(started(progress)))
    ids += [int(one.split("\n")[1].removeprefix("id: ")) for one in await sent(follower)]
    assert ids == sorted(set(ids))
    assert all(number > last_id for number in ids)
    assert ids
