"""Clients that follow jobs live, all served by the one reader of the queue's news per process.

A follower costs a mailbox and a timer. What it is told comes from the news: a change of status has
its job looked at, together with all others that changed and those of newcomers; a report is passed
on as it is; and whenever somebody enters or leaves the queue, the places of all followed jobs that
wait are looked up in one call, a few times a second at most.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from api.live.event_reader import RECONNECT_S
from api.live.sse import Follower, Snapshot
from api.live.state_replay import state_number, states_between
from api.vital_tasks import VitalTasks
from shared.errors import JobNotFound, ServiceUnavailable, VoxelQError
from shared.jobs import Job, JobStatus
from shared.queue.events import EventBatch, JobProgress
from shared.queue.job_queue import PROGRESS_WANTED_S, JobQueue

#: Between two looks at the places of those who wait (seconds).
PLACES_EVERY_S = 0.25

#: Jobs that are looked at in one call; others must not wait for Redis meanwhile.
_AT_ONCE = 200


@dataclass
class _Followed:
    """A job as its followers last heard of it; None until somebody looked."""

    job: Job | None = None
    followers: set[Follower] = field(default_factory=set)


class JobFollowers:
    """Tells followers how their jobs fare; an `api.live.event_reader.Audience`."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._followed: dict[str, _Followed] = {}
        self._changed: set[str] = set()
        self._newcomers: list[tuple[str, asyncio.Future[None]]] = []
        self._look_due = asyncio.Event()
        self._queue_moved = asyncio.Event()
        self._listened_at = float("-inf")
        self._released = False

    @property
    def count(self) -> int:
        """How many clients follow a job just now."""
        return sum(
            follower.begun
            for followed in self._followed.values()
            for follower in followed.followers
        )

    @asynccontextmanager
    async def running(self, vital: VitalTasks) -> AsyncIterator[None]:
        """Look at what the news are about until the block is left."""
        async with (
            vital.repeating("changes", self._look_at_changes),
            vital.repeating("places", self._look_at_places),
        ):
            yield

    async def follow(self, job_id: str, last_id: int | None) -> AsyncGenerator[bytes, None]:
        """Yield the messages for one client, from the job as it is now until its end.

        ``last_id`` is that of the last message the client got; one that got the job's end is told
        nothing.

        Raises:
            JobNotFound: There is no such job; before the first message.
            ServiceUnavailable: Redis does not answer; before the first message.
        """
        follower = Follower(last_id)
        with self._joined(job_id, follower) as followed:
            await self._listen()
            await self._look(job_id)
            if followed.job is not None:
                follower.begin(followed.job)
            if self._released:
                follower.end()
            async for message in follower.messages():
                yield message

    def release(self) -> None:
        """Let everybody go once they heard the news there are, now and from now on."""
        self._released = True
        for followed in self._followed.values():
            for follower in followed.followers:
                follower.end()

    def heard(self, new_events: EventBatch) -> None:
        """Note which jobs changed, and pass on how far others have come."""
        for report in new_events.progress:
            self._pass_on(report)
        changed = {event.job_id for event in new_events.events if event.job_id in self._followed}
        if changed:
            self._changed |= changed
            self._look_due.set()
        if new_events.events:
            self._queue_moved.set()

    async def look_at_all(self) -> None:
        """Look at every followed job, and go on being listened to."""
        if self._followed:
            await self._listen()
            self._changed |= self._followed.keys()
            self._look_due.set()

    @contextmanager
    def _joined(self, job_id: str, follower: Follower) -> Iterator[_Followed]:
        followed = self._followed.setdefault(job_id, _Followed())
        followed.followers.add(follower)
        try:
            yield followed
        finally:
            followed.followers.discard(follower)
            if not followed.followers:
                del self._followed[job_id]

    async def _listen(self) -> None:
        """Have reports written, which nobody does where nobody listens."""
        before, now = self._listened_at, time.monotonic()
        if now - before < PROGRESS_WANTED_S / 4:
            return
        self._listened_at = now  # others that come meanwhile need not say it too
        try:
            await self._queue.request_progress()
        except ServiceUnavailable:
            self._listened_at = before
            raise

    async def _look(self, job_id: str) -> None:
        """Return once a job was looked at; raises JobNotFound or ServiceUnavailable."""
        looked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._newcomers.append((job_id, looked))
        self._look_due.set()
        await looked

    async def _look_at_changes(self) -> None:
        await self._look_due.wait()
        self._look_due.clear()
        changed, self._changed = self._changed, set()
        newcomers, self._newcomers = self._newcomers, []
        wanted = (changed & self._followed.keys()) | {job_id for job_id, _ in newcomers}
        try:
            found = await self._look_at(wanted)
        except ServiceUnavailable as error:
            for _, looked in newcomers:
                again = ServiceUnavailable(error.detail, retry_after_s=error.retry_after_s)
                _refuse(looked, again)
            await asyncio.sleep(RECONNECT_S)
            self._changed |= changed
            self._look_due.set()
            return
        except Exception:
            for _, looked in newcomers:
                _refuse(looked, VoxelQError("An unexpected error happened; it was logged."))
            raise
        for job_id, looked in newcomers:
            if job_id not in found:
                _refuse(looked, JobNotFound(job_id))
            elif not looked.done():
                looked.set_result(None)

    async def _look_at(self, job_ids: set[str]) -> set[str]:
        """Tell what is new about these jobs; return those that are there."""
        found: set[str] = set()
        for some in _portions(job_ids):
            for job_id, job in zip(some, await self._queue.get_all(some), strict=True):
                if job:
                    self._update(job)
                    found.add(job_id)
                else:
                    self._forget(job_id)
        return found

    async def _look_at_places(self) -> None:
        await self._queue_moved.wait()
        self._queue_moved.clear()
        try:
            for some in _portions(self._waiting()):
                places = await self._queue.positions(some)
                for job_id, place in zip(some, places, strict=True):
                    if place is not None:
                        self._move(job_id, *place)
        except ServiceUnavailable:
            pass  # all jobs are looked at once Redis is back
        await asyncio.sleep(PLACES_EVERY_S)

    def _waiting(self) -> set[str]:
        return {
            job_id
            for job_id, followed in self._followed.items()
            if followed.job is not None and followed.job.status is JobStatus.QUEUED
        }

    def _pass_on(self, report: JobProgress) -> None:
        job = self._known(report.job_id)
        # A report may come before the look at the job's start, which then tells as much.
        if job and job.status is JobStatus.STARTED and job.attempts == report.attempt:
            told = {"stage": report.stage, "progress": report.progress}
            self._update(job.model_copy(update=told))

    def _move(self, job_id: str, position: int, eta_s: float | None) -> None:
        job = self._known(job_id)
        if job and job.status is JobStatus.QUEUED:
            self._update(job.model_copy(update={"position": position, "eta_s": eta_s}))

    def _known(self, job_id: str) -> Job | None:
        followed = self._followed.get(job_id)
        return followed.job if followed else None

    def _update(self, job: Job) -> None:
        """Tell the followers of a job what is new about it, if anything is."""
        followed = self._followed.get(job.id)
        if followed is None:
            return
        known, followed.job = followed.job, _later(followed.job, job)
        if known is None or _visible(known) == _visible(followed.job):
            return
        for state in (*states_between(state_number(known), job), job):
            snapshot = Snapshot.of(state)
            for follower in followed.followers:
                follower.tell(snapshot)

    def _forget(self, job_id: str) -> None:
        followed = self._followed.get(job_id)
        for follower in followed.followers if followed else ():
            follower.end()


def _refuse(looked: "asyncio.Future[None]", error: Exception) -> None:
    if not looked.done():  # who hung up meanwhile hears nothing
        looked.set_exception(error)


def _later(known: Job | None, job: Job) -> Job:
    """Return the newer of two looks at a job: answers may overtake each other."""
    if known is None:
        return job
    was, now = state_number(known), state_number(job)
    older = now < was or (now == was and job.progress < known.progress)
    return known if older else job


def _visible(job: Job) -> tuple[object, ...]:
    """Return what a follower is told a change of."""
    return (state_number(job), job.status, job.position, job.stage, job.progress)


def _portions(job_ids: set[str]) -> Iterator[list[str]]:
    ids = sorted(job_ids)
    for first in range(0, len(ids), _AT_ONCE):
        yield ids[first : first + _AT_ONCE]
