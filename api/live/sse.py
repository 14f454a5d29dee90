"""Server-sent events for one client that follows a job: messages and their ids."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Self

from api.live.state_replay import state_number, states_between
from api.schemas import JobView
from shared.jobs import Job

#: A message's id is the number of the job's state times this, plus a count within the state. So an
#: id shows which states its client has seen, whichever process sent it. Ids stay exact in a double.
IDS_A_STATE = 10**9

#: After this long without a message a comment is sent, so that no proxy closes the connection.
HEARTBEAT_S = 15.0

HEARTBEAT = b": still here\n\n"


@dataclass(frozen=True)
class Snapshot:
    """A job at one moment as the JSON of a message, which all its followers share."""

    number: int
    text: str
    terminal: bool

    @classmethod
    def of(cls, job: Job) -> Self:
        """Return the snapshot of ``job``."""
        text = JobView.of(job).model_dump_json(by_alias=True)
        return cls(state_number(job), text, job.status.terminal)


class Follower:
    """The messages that wait to be sent to one client.

    A client that reads slowly misses outdated positions and progress, but no change of status: at
    most one message for each state waits.
    """

    def __init__(self, last_id: int | None) -> None:
        self._last_id = last_id or 0
        self._unsent: deque[Snapshot] = deque()
        self._changed = asyncio.Event()
        self._ended = False
        #: Whether `begin` was called.
        self.begun = False

    def begin(self, job: Job) -> None:
        """Send the present state, after those that the client missed since its last message."""
        self.begun = True
        seen = self._last_id // IDS_A_STATE
        if self._last_id:
            for earlier in states_between(seen, job):
                self.send(Snapshot.of(earlier))
        if job.status.terminal and seen == state_number(job):
            self.end()  # the client has the terminal state
        else:
            self.send(Snapshot.of(job))

    def send(self, snapshot: Snapshot) -> None:
        """Queue a message; it replaces an unsent one of the same state."""
        if not self.begun:
            return  # `begin` will send the present state, which includes it
        if self._unsent and self._unsent[-1].number == snapshot.number:
            self._unsent.pop()
        self._unsent.append(snapshot)
        self._changed.set()

    def end(self) -> None:
        """End the stream after the messages that wait."""
        self._ended = True
        self._changed.set()

    async def messages(self) -> AsyncIterator[bytes]:
        """Yield messages until the terminal state was sent or `end` was called."""
        while True:
            while self._unsent:
                snapshot = self._unsent.popleft()
                self._last_id = max(self._last_id + 1, snapshot.number * IDS_A_STATE)
                yield f"event: job\nid: {self._last_id}\ndata: {snapshot.text}\n\n".encode()
                if snapshot.terminal:
                    return
            if self._ended:
                return
            self._changed.clear()
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._changed.wait()
            except TimeoutError:
                yield HEARTBEAT
