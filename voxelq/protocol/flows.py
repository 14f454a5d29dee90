"""The client's logic without input and output.

Each method is a flow (`voxelq.protocol.steps`): it yields requests, is sent the responses, and
returns the result. `Client` performs the steps by blocking and `AsyncClient` by awaiting, so that
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
from voxelq.protocol.steps import Emit, Flow, OnProgress, Pause, ReportProgress
from voxelq.protocol.upload_body import UploadBody
from voxelq.records import JobPage, JobState, JobStatus, Model, Models, Priority, Queue

H = TypeVar("H", bound=JobHandle)

#: The service is asked to hold its response for so long; less where it allows less (seconds).
HOLD_S = 20.0
#: With a progress callback, or with several jobs, a response is held for so long at most (seconds).
POLL_S = 0.5
#: After a held response that comes sooner than this and is not final, the client pauses as long, so
#: that it does not poll without end while the service shuts down or holds nothing (seconds).
LEAST_HOLD_S = 0.1
#: With several jobs, so many are polled in one round besides the one that should end next.
POLLS_A_ROUND = 16
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
        """Fetch the state of a job."""
        response = yield from self._sender.send("GET", _path(job_id))
        return self._read(JobState, response)

    def refresh(self, job: JobHandle) -> Flow[None]:
        """Fetch the state of a job, and keep it there."""
        job.state = yield from self.state(job.id)

    def wait(
        self, job: JobHandle, timeout_s: float | None, on_progress: OnProgress | None
    ) -> Flow[None]:
        """Return once a job has ended; the service holds its answers until then."""
        deadline = _deadline(timeout_s)
        reported: JobState | None = None
        polled = False
        while True:
            if on_progress is not None and _differ(reported, job.state):
                reported = job.state
                yield ReportProgress(on_progress, reported)
            if job.done:
                return
            if polled and left_s(deadline) <= 0:
                raise WaitTimeout([job.id])
            yield from self._watch(job, self._hold_s if on_progress is None else POLL_S, deadline)
            polled = True

    def as_completed(self, jobs: Iterable[H], timeout_s: float | None) -> Flow[None]:
        """Emit each job once it has ended, over one connection.

        The service holds its response for the job that is expected to end next. A few of the others
        are polled every half second, for jobs that end earlier than expected.
        """
        deadline = _deadline(timeout_s)
        pending = {job.id: job for job in jobs}
        turns = deque(pending)
        next_round_at = time.monotonic() + POLL_S

        def emit_if_done(job: H) -> Flow[None]:
            if job.done:
                del pending[job.id]
                yield Emit(job)

        for job in list(pending.values()):
            yield from emit_if_done(job)
        while pending:
            if left_s(deadline) <= 0:
                raise WaitTimeout(pending)
            job = min(pending.values(), key=_expected_order)
            yield from self._watch(job, self._hold_s if len(pending) == 1 else POLL_S, deadline)
            yield from emit_if_done(job)
            if time.monotonic() < next_round_at:
                continue
            for _ in range(min(len(turns), max(POLLS_A_ROUND, len(pending) // 8))):
                other = pending.get(turns.popleft())
                if other is not None:
                    turns.append(other.id)
                    if other is not job:
                        yield from self.refresh(other)
                        yield from emit_if_done(other)
            next_round_at = time.monotonic() + POLL_S

    def cancel(self, job: JobHandle) -> Flow[None]:
        """Cancel a job unless it has ended; one that has keeps its result."""
        for tries_left in reversed(range(self._sender.retries + 1)):
            yield from self.refresh(job)
            if job.done:
                return
            # Not retried blindly: a second DELETE of a canceled job would purge it.
            if (yield from self._delete_once(job, last=not tries_left)):
                yield from self.refresh(job)
                return

    def delete(self, job: JobHandle) -> Flow[None]:
        """Cancel a job if it has not ended, and have the service purge it with its files."""
        try:
            yield from self.cancel(job)
            yield from self._sender.send("DELETE", _path(job.id))
        except NotFound:
            pass  # purged already, perhaps by a DELETE whose response was lost

    def jobs(self, status: str | None, limit: int | None) -> Flow[None]:
        """Emit the state of each job, newest first, page by page."""
        left, cursor = limit, None
        while left is None or left > 0:
            size = MAX_PAGE if left is None else min(left, MAX_PAGE)
            page = yield from self.job_page(status, size, cursor)
            for state in page.jobs:
                yield Emit(state)
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
        """Fetch which models are served."""
        return self._read(Models, (yield from self._sender.send("GET", "/models")))

    def model(self, name: str) -> Flow[Model]:
        """Fetch one model."""
        path = f"/models/{quote(name, safe='@')}"
        return self._read(Model, (yield from self._sender.send("GET", path)))

    def queue(self) -> Flow[Queue]:
        """Fetch the state of the queue."""
        return self._read(Queue, (yield from self._sender.send("GET", "/queue")))

    def ready(self) -> Flow[bool]:
        """Ask once whether a scan would be served; without an answer it is False."""
        answer = yield from self._sender.send_once("GET", "/readyz")
        return not isinstance(answer, VoxelQError)

    def _watch(self, job: JobHandle, hold_s: float, deadline: float | None) -> Flow[None]:
        """Fetch the state of ``job`` by a response that the service holds until the job ends."""
        hold_s = max(0.0, min(hold_s, self._hold_s, left_s(deadline)))
        began = time.monotonic()
        try:
            response = yield from self._sender.send(
                "GET", _path(job.id), {"wait": round(hold_s, 3)}, deadline=deadline, hold_s=hold_s
            )
        except BadRequest:
            if self._hold_s <= 1:
                raise
            self._hold_s /= 2  # longer than this service holds a response
            return
        job.state = self._read(JobState, response)
        if not job.done and time.monotonic() - began < min(LEAST_HOLD_S, hold_s):
            yield Pause(LEAST_HOLD_S)

    def _delete_once(self, job: JobHandle, *, last: bool) -> Flow[bool]:
        answer = yield from self._sender.send_once("DELETE", _path(job.id))
        if not isinstance(answer, VoxelQError):
            return True
        if last or not transient(answer):
            raise answer
        yield Pause(pause_for(0, answer))
        return False


def _path(job_id: str) -> str:
    return f"/jobs/{quote(job_id, safe='')}"


def _deadline(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else time.monotonic() + timeout_s


def _differ(reported: JobState | None, state: JobState) -> bool:
    return reported is None or (
        (reported.status, reported.position, reported.progress, reported.stage)
        != (state.status, state.position, state.progress, state.stage)
    )


def _expected_order(job: JobHandle) -> tuple[bool, int, object]:
    """Sort started jobs first, then urgent ones, then those that were submitted first."""
    state = job.state
    rank = _RANKS.get(state.priority, _RANKS[Priority.ROUTINE])
    return state.status != JobStatus.STARTED, rank, state.created_at
