"""All that the client does, without doing any input or output itself.

A flow is a generator. It yields steps (`Send`, `Pause`, `Tell`, `Give`), is sent what came of each,
and returns its outcome. `Client` performs the steps by blocking and `AsyncClient` by awaiting, so
that retries, waiting and paging are written once for both.
"""

import random
import time
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote

import httpx

from voxelq.errors import (
    BadRequest,
    NotFound,
    QueueFull,
    ServiceUnavailable,
    ServiceUnreachable,
    VoxelQError,
    WaitTimeout,
)
from voxelq.handles import JobHandle
from voxelq.http_messages import HttpMessages
from voxelq.records import JobPage, JobState, Models, Queue
from voxelq.upload_body import UploadBody

T = TypeVar("T")
H = TypeVar("H", bound=JobHandle)
OnProgress: TypeAlias = Callable[[JobState], object]


@dataclass(frozen=True)
class Send:
    """Send a request; answered with the response, or with the error that came instead."""

    request: httpx.Request


@dataclass(frozen=True)
class Pause:
    """Let some time pass."""

    seconds: float


@dataclass(frozen=True)
class Tell:
    """Call the user's function."""

    on_progress: OnProgress
    state: JobState


@dataclass(frozen=True)
class Give:
    """Hand one item to the user, who iterates."""

    item: Any


Step: TypeAlias = Send | Pause | Tell | Give
Flow: TypeAlias = Generator[Step, Any, T]

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
FIRST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_RETRY_AFTER_S = 0.25, 8.0, 30.0
_PRIORITIES = {"stat": 0, "routine": 1, "bulk": 2}


class Flows:
    """The flows of one service.

    Args:
        messages: Makes its requests and reads its answers.
        retries: How often one call is sent again.
    """

    def __init__(self, messages: HttpMessages, retries: int) -> None:
        if retries < 0:
            raise ValueError("retries must not be below 0.")
        self._messages = messages
        self._retries = retries
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
        response = yield from self._exchange("POST", "/jobs", params, headers, body)
        return self._messages.read(JobState, response)

    def state(self, job_id: str) -> Flow[JobState]:
        """Ask how a job stands."""
        response = yield from self._exchange("GET", _path(job_id))
        return self._messages.read(JobState, response)

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
            if looked and _left_s(deadline) <= 0:
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
            if _left_s(deadline) <= 0:
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
        for tries_left in reversed(range(self._retries + 1)):
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
            yield from self._exchange("DELETE", _path(job.id))
        except NotFound:
            pass  # forgotten already, perhaps by a DELETE whose answer was lost

    def jobs(self, status: str | None, limit: int | None) -> Flow[None]:
        """Give the state of each job, newest first, page by page."""
        left, cursor = limit, None
        while left is None or left > 0:
            params = {
                "status": status,
                "limit": MAX_PAGE if left is None else min(left, MAX_PAGE),
                "cursor": cursor,
            }
            page = self._messages.read(JobPage, (yield from self._exchange("GET", "/jobs", params)))
            for state in page.jobs:
                yield Give(state)
            if left is not None:
                left -= len(page.jobs)
            if page.next_cursor is None or not page.jobs:
                return
            cursor = page.next_cursor

    def file(self, job_id: str, name: str) -> Flow[bytes]:
        """Fetch one of a job's files."""
        response: httpx.Response = yield from self._exchange("GET", f"{_path(job_id)}/{name}")
        return response.content

    def models(self) -> Flow[Models]:
        """Ask which models are served."""
        return self._messages.read(Models, (yield from self._exchange("GET", "/models")))

    def queue(self) -> Flow[Queue]:
        """Ask how the queue stands."""
        return self._messages.read(Queue, (yield from self._exchange("GET", "/queue")))

    def ready(self) -> Flow[bool]:
        """Ask once whether a scan would be served; no answer is a no."""
        got = yield Send(self._messages.request("GET", "/readyz"))
        return isinstance(got, httpx.Response) and got.status_code == httpx.codes.OK

    def _watch(self, job: JobHandle, hold_s: float, deadline: float | None) -> Flow[None]:
        """Have the service hold its answer on ``job`` for a while, and note what it says."""
        hold_s = max(0.0, min(hold_s, self._hold_s, _left_s(deadline)))
        began = time.monotonic()
        try:
            response = yield from self._exchange(
                "GET", _path(job.id), {"wait": round(hold_s, 3)}, deadline=deadline, hold_s=hold_s
            )
        except BadRequest:
            if self._hold_s <= 1:
                raise
            self._hold_s /= 2  # more than this service holds an answer for
            return
        job.state = self._messages.read(JobState, response)
        if not job.done and time.monotonic() - began < min(LEAST_HOLD_S, hold_s):
            yield Pause(LEAST_HOLD_S)

    def _delete_once(self, job: JobHandle, *, last: bool) -> Flow[bool]:
        got = yield Send(self._messages.request("DELETE", _path(job.id)))
        error = self._messages.trouble(got)
        if error is None:
            return True
        if last or not _passing(error):
            raise error
        yield Pause(_pause_s(0, error))
        return False

    def _exchange(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | float | None] | None = None,
        headers: Mapping[str, str] | None = None,
        body: UploadBody | None = None,
        *,
        deadline: float | None = None,
        hold_s: float = 0.0,
    ) -> Flow[httpx.Response]:
        """Send a call, again if need be, until it is answered; raises what it is refused with."""
        for tried in range(self._retries + 1):
            request = self._messages.request(method, path, params, headers, body, hold_s=hold_s)
            got: httpx.Response | httpx.HTTPError = yield Send(request)
            error = self._messages.trouble(got)
            if error is None:
                assert isinstance(got, httpx.Response)  # noqa: S101 - else there is an error
                return got
            pause_s = _pause_s(tried, error)
            if tried == self._retries or not _passing(error) or pause_s > _left_s(deadline):
                raise error
            yield Pause(pause_s)
        raise AssertionError("unreachable: the last round returns or raises")


def _path(job_id: str) -> str:
    return f"/jobs/{quote(job_id, safe='')}"


def _passing(error: VoxelQError) -> bool:
    return isinstance(error, QueueFull | ServiceUnavailable) or (
        isinstance(error, ServiceUnreachable) and error.passing
    )


def _pause_s(tried: int, error: VoxelQError) -> float:
    asked_s = getattr(error, "retry_after_s", None) or 0.0
    backoff_s = min(FIRST_PAUSE_S * 2.0**tried, LONGEST_PAUSE_S)
    # Spread, so that clients that were cut off together do not come back together.
    return max(min(float(asked_s), LONGEST_RETRY_AFTER_S), backoff_s) * random.uniform(1, 1.25)


def _deadline(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else time.monotonic() + timeout_s


def _left_s(deadline: float | None) -> float:
    return float("inf") if deadline is None else deadline - time.monotonic()


def _differ(told: JobState | None, state: JobState) -> bool:
    return told is None or (
        (told.status, told.position, told.progress, told.stage)
        != (state.status, state.position, state.progress, state.stage)
    )


def _expected_turn(job: JobHandle) -> tuple[bool, int, object]:
    """Sort started jobs first, then urgent ones, then those that were submitted first."""
    state = job.state
    return state.status != "started", _PRIORITIES.get(state.priority, 1), state.created_at
