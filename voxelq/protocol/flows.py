"""All that the client does, without doing any input or output itself.

Each method is a flow (`voxelq.protocol.steps`): it says what to send, is sent the answer, and
returns the outcome. `Client` performs the steps by blocking and `AsyncClient` by awaiting, so that
retries, waiting and paging are written once for both.
"""

import time
import uuid
from collections import deque
from collections.abc import Iterable
from typing import TypeVar
from urllib.parse import quote

import httpx

from voxelq.errors import BadRequest, NotFound, VoxelQError, WaitTimeout
from voxelq.handles import JobHandle
from voxelq.protocol.http_messages import HttpMessages
from voxelq.protocol.sending import Sender, left_s, pause_for, transient
from voxelq.protocol.steps import Flow, Give, OnProgress, Pause, Tell
from voxelq.protocol.upload_body import UploadBody
from voxelq.records import JobPage, JobState, JobStatus, Model, Models, Priority, Queue

H = TypeVar("H", bound=JobHandle)

#: The service is asked to hold an answer for so long; less where it does not take that much.
HOLD_S = 20.0
#: With a progress callback, or with several jobs to watch, each look is held for so long at most.
LOOK_S = 0.5
#: A held answer that comes sooner than this and tells no end is followed by as long a pause, so
#: that a service that is shutting down, or holds nothing, is not asked without end.
LEAST_HOLD_S = 0.1
#: Of the jobs that are watched, so many are looked at in one round besides the next to end.
LOOKS_A_ROUND = 16
MAX_PAGE = 200
_RANKS: dict[str, int] = {priority: rank for rank, priority in enumerate(Priority)}


class Flows:
    """The flows of one service.

    Args:
        messages: Makes its requests and reads its answers.
        retries: How often one call is sent again.
    """

    def __init__(self, messages: HttpMessages, retries: int) -> None:
        self._sender = Sender(messages, retries)
        self._read = messages.read
        self._hold_s = HOLD_S

    def submit(
        self,
        body: UploadBody,
        model: str | None,
        priority: str | None,
        idempotency_key: str | None,
    ) -> Flow[JobState]:
        """Submit a scan once, however often it has to be sent."""
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        params = {"model": model, "priority": priority}
        response = yield from self._sender.send("POST", "/jobs", params, headers, body)
        return self._read(JobState, response)

    def state(self, job_id: str) -> Flow[JobState]:
        """Ask how a job stands."""
        response = yield from self._sender.send("GET", _path(job_id))
        return self._read(JobState, response)

    def refresh(self, job: JobHandle) -> Flow[None]:
        """Ask how a job stands, and note it there."""
        job.state = yield from self.state(job.id)

    def wait(
        self, job: JobHandle, timeout_s: float | None, on_progress: OnProgress | None
    ) -> Flow[None]:
        """Return once a job has ended; the service holds its answers until then."""
        deadline = _deadline(timeout_s)
        told: JobState | None = None
        looked = False
        while True:
            if on_progress is not None and _differ(told, job.state):
                told = job.state
                yield Tell(on_progress, told)
            if job.done:
                return
            if looked and left_s(deadline) <= 0:
                raise WaitTimeout([job.id])
            yield from self._watch(job, self._hold_s if on_progress is None else LOOK_S, deadline)
            looked = True

    def as_completed(self, jobs: Iterable[H], timeout_s: float | None) -> Flow[None]:
        """Give each job once it has ended, over one connection.

        The service holds its answer on the job that is expected to end next. For those that end
        out of turn, a few of the others are looked at every half second.
        """
        deadline = _deadline(timeout_s)
        pending = {job.id: job for job in jobs}
        turns = deque(pending)
        next_looks_at = time.monotonic() + LOOK_S

        def given_if_done(job: H) -> Flow[None]:
            if job.done:
                del pending[job.id]
                yield Give(job)

        for job in list(pending.values()):
            yield from given_if_done(job)
        while pending:
            if left_s(deadline) <= 0:
                raise WaitTimeout(pending)
            job = min(pending.values(), key=_expected_turn)
            yield from self._watch(job, self._hold_s if len(pending) == 1 else LOOK_S, deadline)
            yield from given_if_done(job)
            if time.monotonic() < next_looks_at:
                continue
            for _ in range(min(len(turns), max(LOOKS_A_ROUND, len(pending) // 8))):
                other = pending.get(turns.popleft())
                if other is not None:
                    turns.append(other.id)
                    if other is not job:
                        yield from self.refresh(other)
                        yield from given_if_done(other)
            next_looks_at = time.monotonic() + LOOK_S

    def cancel(self, job: JobHandle) -> Flow[None]:
        """Cancel a job unless it has ended; one that has keeps its result."""
        for tries_left in reversed(range(self._sender.retries + 1)):
            yield from self.refresh(job)
            if job.done:
                return
            # Not sent again unseen: a second DELETE of a canceled job would purge it.
            if (yield from self._delete_once(job, last=not tries_left)):
                yield from self.refresh(job)
                return

    def delete(self, job: JobHandle) -> Flow[None]:
        """Cancel a job if it has not ended, and have the service forget it with its files."""
        try:
            yield from self.cancel(job)
            yield from self._sender.send("DELETE", _path(job.id))
        except NotFound:
            pass  # forgotten already, perhaps by a DELETE whose answer was lost

    def jobs(self, status: str | None, limit: int | None) -> Flow[None]:
        """Give the state of each job, newest first, page by page."""
        left, cursor = limit, None
        while left is None or left > 0:
            size = MAX_PAGE if left is None else min(left, MAX_PAGE)
            page = yield from self.job_page(status, size, cursor)
            for state in page.jobs:
                yield Give(state)
            if left is not None:
                left -= len(page.jobs)
            if page.next_cursor is None or not page.jobs:
                return
            cursor = page.next_cursor

    def job_page(self, status: str | None, limit: int | None, cursor: str | None) -> Flow[JobPage]:
        """Fetch one page of jobs, newest first."""
        params = {"status": status, "limit": limit, "cursor": cursor}
        return self._read(JobPage, (yield from self._sender.send("GET", "/jobs", params)))

    def file(self, job_id: str, name: str) -> Flow[bytes]:
        """Fetch one of a job's files."""
        response: httpx.Response = yield from self._sender.send("GET", f"{_path(job_id)}/{name}")
        return response.content

    def models(self) -> Flow[Models]:
        """Ask which models are served."""
        return self._read(Models, (yield from self._sender.send("GET", "/models")))

    def model(self, name: str) -> Flow[Model]:
        """Fetch one model."""
        path = f"/models/{quote(name, safe='@')}"
        return self._read(Model, (yield from self._sender.send("GET", path)))

    def queue(self) -> Flow[Queue]:
        """Ask how the queue stands."""
        return self._read(Queue, (yield from self._sender.send("GET", "/queue")))

    def ready(self) -> Flow[bool]:
        """Ask once whether a scan would be served; no answer is a no."""
        came = yield from self._sender.send_once("GET", "/readyz")
        return not isinstance(came, VoxelQError)

    def _watch(self, job: JobHandle, hold_s: float, deadline: float | None) -> Flow[None]:
        """Have the service hold its answer on ``job`` for a while, and note what it says."""
        hold_s = max(0.0, min(hold_s, self._hold_s, left_s(deadline)))
        began = time.monotonic()
        try:
            response = yield from self._sender.send(
                "GET", _path(job.id), {"wait": round(hold_s, 3)}, deadline=deadline, hold_s=hold_s
            )
        except BadRequest:
            if self._hold_s <= 1:
                raise
            self._hold_s /= 2  # more than this service holds an answer for
            return
        job.state = self._read(JobState, response)
        if not job.done and time.monotonic() - began < min(LEAST_HOLD_S, hold_s):
            yield Pause(LEAST_HOLD_S)

    def _delete_once(self, job: JobHandle, *, last: bool) -> Flow[bool]:
        came = yield from self._sender.send_once("DELETE", _path(job.id))
        if not isinstance(came, VoxelQError):
            return True
        if last or not transient(came):
            raise came
        yield Pause(pause_for(0, came))
        return False


def _path(job_id: str) -> str:
    return f"/jobs/{quote(job_id, safe='')}"


def _deadline(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else time.monotonic() + timeout_s


def _differ(told: JobState | None, state: JobState) -> bool:
    return told is None or (
        (told.status, told.position, told.progress, told.stage)
        != (state.status, state.position, state.progress, state.stage)
    )


def _expected_turn(job: JobHandle) -> tuple[bool, int, object]:
    """Sort started jobs first, then urgent ones, then those that were submitted first."""
    state = job.state
    rank = _RANKS.get(state.priority, _RANKS[Priority.ROUTINE])
    return state.status != JobStatus.STARTED, rank, state.created_at
