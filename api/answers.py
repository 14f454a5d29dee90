"""How a job is answered: its JSON, and the headers that go with it."""

import asyncio
import math
from collections.abc import Coroutine, Mapping
from typing import TypeVar

from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from api.schemas import JobView
from shared.jobs import Job

T = TypeVar("T")

_MAX_RETRY_AFTER_S = 30


def job_response(job: Job, *, accepted: bool, headers: Mapping[str, str]) -> Response:
    """Return ``job`` as 200, or as 202 with ``Location`` where it was ``accepted`` for later."""
    all_headers = dict(headers)
    if accepted:
        all_headers["Location"] = f"/jobs/{job.id}"
    if not job.status.terminal:
        all_headers["Retry-After"] = str(_retry_after_s(job))
    if job.report is not None:
        all_headers["Server-Timing"] = job.report.timings_s.server_timing()
    return Response(
        JobView.of(job).model_dump_json(by_alias=True),
        status_code=202 if accepted else 200,
        headers=all_headers,
        media_type="application/json",
    )


async def while_connected(request: Request, work: Coroutine[None, None, T]) -> T:
    """Return what ``work`` returns, or stop it once the client hangs up.

    The request's body must have been read.

    Raises:
        ClientDisconnect: Nobody is there any more.

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
