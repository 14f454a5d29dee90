"""A job as an HTTP response: its JSON and its headers."""

import asyncio
import math
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from api.schemas import JobView
from shared.jobs import Job

T = TypeVar("T")

_MAX_RETRY_AFTER_S = 30


def job_response(
    job: Job, *, accepted: bool, headers: Mapping[str, str], started_at: datetime | None = None
) -> Response:
    """Return ``job`` as 200, or as 202 with ``Location`` where it is ``accepted`` for later.

    ``started_at`` is when a call arrived that submitted the scan and waited for it; then
    ``Server-Timing`` has the parts of that call too.
    """
    all_headers = dict(headers)
    if accepted:
        all_headers["Location"] = f"/jobs/{job.id}"
    if not job.status.terminal:
        all_headers["Retry-After"] = str(_retry_after_s(job))
    body = JobView.of(job).model_dump_json(by_alias=True)
    if job.report is not None:
        all_headers["Server-Timing"] = job.report.timings_s.server_timing()
        if started_at is not None and started_at <= job.submission.created_at:
            all_headers["Server-Timing"] += _call_timing(job, started_at)
    return Response(
        body,
        status_code=202 if accepted else 200,
        headers=all_headers,
        media_type="application/json",
    )


def _call_timing(job: Job, started_at: datetime) -> str:
    """Return the times that a blocking call adds to the job's own, in milliseconds.

    ``upload`` is from the call's headers until its scan is stored, ``answer`` from the end of the
    job until its answer is written, ``server`` from the headers until the answer is written.
    """
    now = datetime.now(UTC)
    parts = {
        "upload": job.submission.created_at - started_at,
        # The job's end may have been set by another machine's clock.
        "answer": max(now - (job.finished_at or now), timedelta()),
        "server": now - started_at,
    }
    return "".join(
        f", {name};dur={1000 * part.total_seconds():.1f}" for name, part in parts.items()
    )


async def while_connected(request: Request, work: Coroutine[None, None, T]) -> T:
    """Return what ``work`` returns, or cancel it once the client disconnects.

    The request's body must have been read.

    Raises:
        ClientDisconnect: The client closed its connection.

    """
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        watching.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _retry_after_s(job: Job) -> int:
    return min(max(1, math.ceil(job.eta_s or 1)), _MAX_RETRY_AFTER_S)
