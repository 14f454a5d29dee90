"""Jobs: show one, list many, cancel or purge one."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Header, Query, Request, Response

from api.http.openapi import problem_responses
from api.http.responses import job_response, while_connected
from api.job_id import JOB_ID_PATTERN, JobId
from api.schemas import JobPageView, JobView
from api.services import ServicesDep
from api.submission.wait_preference import read_wait_preference
from shared.errors import BadRequest, JobNotFound, ServiceUnavailable, StoreUnavailable
from shared.jobs import JobStatus

log = structlog.get_logger()

router = APIRouter(tags=["jobs"])

DEFAULT_PAGE = 50
MAX_PAGE = 200


@router.get(
    "/jobs",
    response_model=JobPageView,
    responses=problem_responses(BadRequest, ServiceUnavailable),
)
async def list_jobs(
    services: ServicesDep,
    status: Annotated[JobStatus | None, Query(description="Only jobs in this state.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE,
    cursor: Annotated[
        str | None,
        Query(pattern=JOB_ID_PATTERN, description="`next_cursor` of the page before."),
    ] = None,
) -> JobPageView:
    """List jobs, newest first."""
    return JobPageView.of(await services.queue.page(status, limit, cursor))


@router.get(
    "/jobs/{job_id}",
    response_model=JobView,
    responses=problem_responses(BadRequest, JobNotFound, ServiceUnavailable),
)
async def show_job(
    request: Request,
    services: ServicesDep,
    job_id: JobId,
    wait: Annotated[
        float | None,
        Query(ge=0, allow_inf_nan=False, description="Seconds to hold the answer at most."),
    ] = None,
    prefer: Annotated[str | None, Header(description="`wait=N` (RFC 7240).")] = None,
) -> Response:
    """Show a job; with a wait, the answer is held until the job is terminal or the wait is over."""
    preference = read_wait_preference(wait, prefer, default_s=0, max_s=services.settings.max_wait_s)
    if preference.wait_s > 0:
        job = await while_connected(request, services.waiters.wait(job_id, preference.wait_s))
    else:
        job = await services.queue.get(job_id)
    return job_response(job, accepted=False, headers=preference.headers)


@router.delete(
    "/jobs/{job_id}",
    status_code=204,
    responses=problem_responses(JobNotFound, ServiceUnavailable, StoreUnavailable),
)
async def delete_job(services: ServicesDep, job_id: JobId) -> None:
    """Cancel a job that is queued or started; purge one that is terminal, with all its files."""
    if await services.queue.cancel(job_id):
        await services.thread_pools.files.run(services.store_upkeep.remove_record, job_id)
        log.info("job_canceled", job=job_id)
        return
    # Files first: without its job a file could not be found any more.
    await services.thread_pools.files.run(services.store_upkeep.delete_job, job_id)
    await services.queue.purge(job_id)
    log.info("job_purged", job=job_id)
