"""Clients that follow jobs live, all served by the one reader of the queue's events per process.

A follower costs a queue of messages and a timer. Three kinds of changes reach it. After a change
of status its job is read, in one call with all other changed jobs and those of new followers. A
progress update is passed on as it is. And when any job enters or leaves the queue, the positions
of all followed jobs that wait are read in one call, a few times a second at most.
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

#: Between two reads of the positions of waiting jobs (seconds).
POSITIONS_EVERY_S = 0.25

#: Jobs that are read in one call; larger calls would delay other clients of Redis.
_JOBS_A_CALL = 200


@dataclass
class _Followed:
    """A job as its followers know it, None before it was first read; and these followers."""

    job: Job | None = None
    followers: set[Follower] = field(default_factory=set)


class JobFollowers:
    """Sends followers the changes of their jobs; an `api.live.event_reader.EventConsumer`."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._followed: dict[str, _Followed] = {}
        self._changed: set[str] = set()
        self._unread: list[tuple[str, asyncio.Future[None]]] = []
        self._read_due = asyncio.Event()
        self._queue_changed = asyncio.Event()
        self._requested_at = float("-inf")
        self._released = False

    @property
    def count(self) -> int:
        """How many clients follow a job now."""
        return sum(
            follower.begun
            for followed in self._followed.values()
            for follower in followed.followers
        )

    @asynccontextmanager
    async def running(self, vital_tasks: VitalTasks) -> AsyncIterator[None]:
        """Read the jobs that change until the block is left."""
        async with (
            vital_tasks.repeating("changes", self._read_changes),
            vital_tasks.repeating("positions", self._read_positions),
        ):
            yield

    async def follow(self, job_id: str, last_id: int | None) -> AsyncGenerator[bytes, None]:
        """Yield the messages for one client, from the job's present state until it is terminal.

        ``last_id`` is the id of the last message that the client received; if that was the terminal
        state, there is no message.

        Raises:
            JobNotFound: There is no such job; before the first message.
            ServiceUnavailable: Redis does not answer; before the first message.
        """
        follower = Follower(last_id)
        with self._joined(job_id, follower) as followed:
            await self._request_progress()
            await self._read(job_id)
            if followed.job is not None:
                follower.begin(followed.job)
            if self._released:
                follower.end()
            async for message in follower.messages():
                yield message

    def release(self) -> None:
        """End all streams at shutdown, after their waiting messages; later ones end at once."""
        self._released = True
        for followed in self._followed.values():
            for follower in followed.followers:
                follower.end()

    def receive(self, new_events: EventBatch) -> None:
        """Note which jobs have changed, and pass progress updates on."""
        for progress_update in new_events.progress:
            self._pass_on(progress_update)
        changed = {event.job_id for event in new_events.events if event.job_id in self._followed}
        if changed:
            self._changed |= changed
            self._read_due.set()
        if new_events.events:
            self._queue_changed.set()

    async def poll(self) -> None:
        """Read every followed job, and keep asking for progress updates."""
        if self._followed:
            await self._request_progress()
            self._changed |= self._followed.keys()
            self._read_due.set()

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

    async def _request_progress(self) -> None:
        """Ask workers to write progress updates, which they do only while a client follows."""
        before, now = self._requested_at, time.monotonic()
        if now - before < PROGRESS_WANTED_S / 4:
            return
        self._requested_at = now  # concurrent calls need not ask too
        try:
            await self._queue.request_progress()
        except ServiceUnavailable:
            self._requested_at = before
            raise

    async def _read(self, job_id: str) -> None:
        """Return once a job was read; raises JobNotFound or ServiceUnavailable."""
        was_read: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unread.append((job_id, was_read))
        self._read_due.set()
        await was_read

    async def _read_changes(self) -> None:
        await self._read_due.wait()
        self._read_due.clear()
        changed, self._changed = self._changed, set()
        unread, self._unread = self._unread, []
        wanted = (changed & self._followed.keys()) | {job_id for job_id, _ in unread}
        try:
            found = await self._read_jobs(wanted)
        except ServiceUnavailable as error:
            for _, was_read in unread:
                again = ServiceUnavailable(error.detail, retry_after_s=error.retry_after_s)
                _set_error(was_read, again)
            await asyncio.sleep(RECONNECT_S)
            self._changed |= changed
            self._read_due.set()
            return
        except Exception:
            for _, was_read in unread:
                _set_error(was_read, VoxelQError("An unexpected error happened; it was logged."))
            raise
        for job_id, was_read in unread:
            if job_id not in found:
                _set_error(was_read, JobNotFound(job_id))
            elif not was_read.done():
                was_read.set_result(None)

    async def _read_jobs(self, job_ids: set[str]) -> set[str]:
        """Send what has changed in these jobs; return those that exist."""
        found: set[str] = set()
        for portion in _portions(job_ids):
            for job_id, job in zip(portion, await self._queue.get_all(portion), strict=True):
                if job:
                    self._update(job)
                    found.add(job_id)
                else:
                    self._end(job_id)
        return found

    async def _read_positions(self) -> None:
        await self._queue_changed.wait()
        self._queue_changed.clear()
        try:
            for portion in _portions(self._waiting()):
                positions = await self._queue.positions(portion)
                for job_id, position in zip(portion, positions, strict=True):
                    if position is not None:
                        self._move(job_id, *position)
        except ServiceUnavailable:
            pass  # all jobs are read once Redis is back
        await asyncio.sleep(POSITIONS_EVERY_S)

    def _waiting(self) -> set[str]:
        return {
            job_id
            for job_id, followed in self._followed.items()
            if followed.job is not None and followed.job.status is JobStatus.QUEUED
        }

    def _pass_on(self, progress_update: JobProgress) -> None:
        job = self._known(progress_update.job_id)
        # It may arrive before the started job was read, which then has the same progress.
        if job and job.status is JobStatus.STARTED and job.attempts == progress_update.attempt:
            changes = {"stage": progress_update.stage, "progress": progress_update.progress}
            self._update(job.model_copy(update=changes))

    def _move(self, job_id: str, position: int, eta_s: float | None) -> None:
        job = self._known(job_id)
        if job and job.status is JobStatus.QUEUED:
            self._update(job.model_copy(update={"position": position, "eta_s": eta_s}))

    def _known(self, job_id: str) -> Job | None:
        followed = self._followed.get(job_id)
        return followed.job if followed else None

    def _update(self, job: Job) -> None:
        """Send a job to its followers if anything that they see has changed."""
        followed = self._followed.get(job.id)
        if followed is None:
            return
        known, followed.job = followed.job, _later(followed.job, job)
        if known is None or _visible(known) == _visible(followed.job):
            return
        for state in (*states_between(state_number(known), job), job):
            snapshot = Snapshot.of(state)
            for follower in followed.followers:
                follower.send(snapshot)

    def _end(self, job_id: str) -> None:
        followed = self._followed.get(job_id)
        for follower in followed.followers if followed else ():
            follower.end()


def _set_error(was_read: "asyncio.Future[None]", error: Exception) -> None:
    if not was_read.done():  # it is done if the client has disconnected
        was_read.set_exception(error)


def _later(known: Job | None, job: Job) -> Job:
    """Return the newer of two reads of a job: answers of Redis may overtake each other."""
    if known is None:
        return job
    before, after = state_number(known), state_number(job)
    older = after < before or (after == before and job.progress < known.progress)
    return known if older else job


def _visible(job: Job) -> tuple[object, ...]:
    """Return the facts of a job whose changes are sent."""
    return (state_number(job), job.status, job.position, job.stage, job.progress)


def _portions(job_ids: set[str]) -> Iterator[list[str]]:
    ids = sorted(job_ids)
    for first in range(0, len(ids), _JOBS_A_CALL):
        yield ids[first : first + _JOBS_A_CALL]
