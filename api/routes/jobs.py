"""Jobs that were handed in: one, many, and withdrawing them."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Header, Query, Request, Response

from api.http.openapi import problems
from api.http.responses import job_response, while_connected
from api.schemas import JobPageView, JobView
from api.services import Desk, JobId
from api.submission.wait_preference import read_patience
from shared.errors import BadRequest, JobNotFound, ServiceUnavailable, StoreUnavailable
from shared.jobs import JobStatus

log = structlog.get_logger()

router = APIRouter(tags=["jobs"])

DEFAULT_PAGE = 50
MAX_PAGE = 200


@router.get(
    "/jobs",
    response_model=JobPageView,
    responses=problems(BadRequest, ServiceUnavailable),
)
async def list_jobs(
    desk: Desk,
    status: Annotated[JobStatus | None, Query(description="Only jobs in this state.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE,
    cursor: Annotated[
        str | None,
        Query(pattern=r"^[0-9A-HJKMNP-TV-Z]{26}$", description="`next_cursor` of the page before."),
    ] = None,
) -> JobPageView:
    """List jobs, newest first."""
    return JobPageView.of(await desk.queue.page(status, limit, cursor))


@router.get(
    "/jobs/{job_id}",
    response_model=JobView,
    responses=problems(BadRequest, JobNotFound, ServiceUnavailable),
)
async def show_job(
    request: Request,
    desk: Desk,
    job_id: JobId,
    wait: Annotated[
        float | None,
        Query(ge=0, allow_inf_nan=False, description="Seconds to hold the answer at most."),
    ] = None,
    prefer: Annotated[str | None, Header(description="`wait=N` (RFC 7240).")] = None,
) -> Response:
    """Show a job; with a wait, the answer is held until it is terminal or the wait is over."""
    patience = read_patience(wait, prefer, default_s=0, max_s=desk.settings.max_wait_s)
    if patience.wait_s > 0:
        job = await while_connected(request, desk.waiter.wait(job_id, patience.wait_s))
    else:
        job = await desk.queue.get(job_id)
    return job_response(job, accepted=False, headers=patience.headers)


@router.delete(
    "/jobs/{job_id}",
    status_code=204,
    responses=problems(JobNotFound, ServiceUnavailable, StoreUnavailable),
)
async def delete_job(desk: Desk, job_id: JobId) -> None:
    """Cancel a job that is queued or started; purge one that is terminal, with all its files."""
    if await desk.queue.cancel(job_id):
        await desk.threads.files.run(desk.storage.forget, job_id)
        log.info("job_canceled", job=job_id)
        return
    # Files first: once the job is forgotten, nobody would know of them.
    await desk.threads.files.run(desk.storage.delete_job, job_id)
    await desk.queue.purge(job_id)
    log.info("job_purged", job=job_id)
