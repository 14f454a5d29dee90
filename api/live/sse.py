"""What one client that follows a job is sent: messages of server-sent events, and their ids."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Self

from api.live.state_replay import state_number, states_between
from api.schemas import JobView
from shared.jobs import Job

#: A message's id is its state's number times this, and then counts on: from any id one can tell
#: what its client has seen, whichever process sent it. Ids stay exact in a double.
IDS_A_STATE = 10**9

#: Sent so often when there is nothing to say, so that nothing on the way takes the line for dead.
HEARTBEAT_S = 15.0

HEARTBEAT = b": still here\n\n"


@dataclass(frozen=True)
class Snapshot:
    """A job at one moment, as clients are told of it; written once for all who follow it."""

    number: int
    text: str
    terminal: bool

    @classmethod
    def of(cls, job: Job) -> Self:
        """Write a job down."""
        text = JobView.of(job).model_dump_json(by_alias=True)
        return cls(state_number(job), text, job.status.terminal)


class Follower:
    """One client's mailbox.

    A client that reads slowly misses places and progress that are out of date by then, and no
    change of status: the mailbox never holds more than one message a state.
    """

    def __init__(self, last_id: int | None) -> None:
        self._last_id = last_id or 0
        self._unsent: deque[Snapshot] = deque()
        self._news = asyncio.Event()
        self._ended = False
        #: Whether it was told the state that it begins with.
        self.begun = False

    def begin(self, job: Job) -> None:
        """Tell the state now, and those that the client missed since its last message."""
        self.begun = True
        seen = self._last_id // IDS_A_STATE
        if self._last_id:
            for earlier in states_between(seen, job):
                self.tell(Snapshot.of(earlier))
        if job.status.terminal and seen == state_number(job):
            self.end()  # it knows
        else:
            self.tell(Snapshot.of(job))

    def tell(self, snapshot: Snapshot) -> None:
        """Put a message in; what it makes out of date is taken out."""
        if not self.begun:
            return  # the state now is still to come, and includes it
        if self._unsent and self._unsent[-1].number == snapshot.number:
            self._unsent.pop()
        self._unsent.append(snapshot)
        self._news.set()

    def end(self) -> None:
        """Let the client go once it has been sent what there is."""
        self._ended = True
        self._news.set()

    async def messages(self) -> AsyncIterator[bytes]:
        """Yield what there is to send, until the job's end was sent or `end` was called."""
        while True:
            while self._unsent:
                snapshot = self._unsent.popleft()
                self._last_id = max(self._last_id + 1, snapshot.number * IDS_A_STATE)
                yield f"event: job\nid: {self._last_id}\ndata: {snapshot.text}\n\n".encode()
                if snapshot.terminal:
                    return
            if self._ended:
                return
            self._news.clear()
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._news.wait()
            except TimeoutError:
                yield HEARTBEAT
