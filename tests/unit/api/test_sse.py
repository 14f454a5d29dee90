"""The messages that one follower of a job receives."""

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
    """A queued job."""
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
    """All messages of a follower to the end."""
    return [message.decode() async for message in follower.messages()]


def message_id(message: str) -> int:
    """The id of a message."""
    return int(message.split("\n")[1].removeprefix("id: "))


async def test_a_slow_client_misses_no_status_and_holds_no_memory() -> None:
    """A client that reads late gets the newest message of each state."""
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


async def test_changes_before_the_first_state_are_part_of_it() -> None:
    """A change that arrives before the client's first state is not sent before it."""
    follower = Follower(None)
    follower.send(Snapshot.of(started(0.5)))
    follower.begin(CANCELED)
    (only,) = await sent(follower)
    assert '"status":"canceled"' in only


async def test_heartbeats_are_sent_between_messages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While nothing changes, comments are sent; after `end` nothing is sent."""
    monkeypatch.setattr(sse, "HEARTBEAT_S", 0.01)
    follower = Follower(None)
    follower.begin(queued(0))
    messages: AsyncIterator[bytes] = follower.messages()
    assert (await anext(messages)).startswith(b"event: job\n")
    assert [await anext(messages) for _ in range(3)] == [HEARTBEAT] * 3
    follower.end()
    assert [message async for message in messages if message != HEARTBEAT] == []


@given(st.integers(0, 2**53), st.lists(st.floats(0, 1), max_size=5))
async def test_ids_only_grow(last_id: int, updates: list[float]) -> None:
    """With any Last-Event-ID, every message's id is higher than all before."""
    follower = Follower(last_id)
    follower.begin(started(0.0))
    ids = []
    follower.end()
    for progress in updates:
        ids += [message_id(message) for message in await sent(follower)]
        follower.send(Snapshot.of(started(progress)))
    ids += [message_id(message) for message in await sent(follower)]
    assert ids == sorted(set(ids))
    assert all(number > last_id for number in ids)
    assert ids
