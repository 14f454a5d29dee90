"""Submit a scan: get its job and poll it, or block until it is done."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Header, Query, Request, Response

from api.http.openapi import SUBMIT_BODY, problem_responses
from api.http.responses import job_response, while_connected
from api.schemas import JobView
from api.services import Services, ServicesDep
from api.submission.receive import TEXT_FIELDS, delete_files, received_scan
from api.submission.wait_preference import WaitPreference, read_wait_preference
from shared.errors import (
    BadRequest,
    BadScan,
    IdempotencyConflict,
    JobNotFound,
    ModelBroken,
    ModelNotFound,
    NotFinished,
    NotFound,
    OriginForbidden,
    QueueFull,
    ScanPathForbidden,
    ScanTooLarge,
    ServiceUnavailable,
    StoreFull,
    StoreUnavailable,
    TooManyUploads,
    UnsupportedMedia,
    UploadTimeout,
)
from shared.jobs import Job, Priority, Submission

log = structlog.get_logger()

router = APIRouter(tags=["submit"])

_QUERY_PARAMETERS = TEXT_FIELDS | {"wait"}
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

_REFUSALS = problem_responses(
    BadRequest,
    ScanPathForbidden,
    OriginForbidden,
    ModelBroken,
    ModelNotFound,
    NotFound,
    JobNotFound,
    NotFinished,
    ScanTooLarge,
    UnsupportedMedia,
    BadScan,
    IdempotencyConflict,
    QueueFull,
    ServiceUnavailable,
    StoreFull,
    StoreUnavailable,
    TooManyUploads,
    UploadTimeout,
)


@dataclass(frozen=True)
class SubmitCall:
    """The parameters and headers that both submits take; ``started_at`` is when they arrived."""

    request: Request
    started_at: datetime
    model: str | None
    priority: Priority | None
    wait: float | None
    prefer: str | None
    idempotency_key: str | None
    traceparent: str | None

    def preference(self, services: Services, *, default_s: float) -> WaitPreference:
        """Return how long this client wants to wait; raises BadRequest."""
        return read_wait_preference(
            self.wait, self.prefer, default_s=default_s, max_s=services.settings.max_wait_s
        )


async def submit_call(
    request: Request,
    model: Annotated[
        str | None,
        Query(min_length=1, description="`name` or `name@version`; default: the service's."),
    ] = None,
    priority: Annotated[Priority | None, Query(description="Default: `routine`.")] = None,
    wait: Annotated[
        float | None,
        Query(ge=0, allow_inf_nan=False, description="Seconds to hold the answer at most."),
    ] = None,
    prefer: Annotated[
        str | None, Header(description="`respond-async` or `wait=N` (RFC 7240).")
    ] = None,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=255,
            pattern=r"^[ -~]*$",
            description="Same key, same scan: the same job.",
        ),
    ] = None,
    traceparent: Annotated[
        str | None, Header(description="W3C trace context, carried through the job.")
    ] = None,
) -> SubmitCall:
    """Read the parameters and headers of a submit; raises BadRequest."""
    started_at = datetime.now(UTC)
    names = [name for name, _ in request.query_params.multi_items()]
    if unknown := set(names) - _QUERY_PARAMETERS:
        known = ", ".join(sorted(_QUERY_PARAMETERS))
        raise BadRequest(
            f"The query has {len(unknown)} parameters that no submit takes; known are {known}."
        )
    if len(names) != len(set(names)):
        raise BadRequest("A query parameter is given twice.")
    if traceparent is not None and not _TRACEPARENT.fullmatch(traceparent):
        traceparent = None  # a malformed one is ignored (W3C Trace Context, section 3.2)
    return SubmitCall(
        request, started_at, model, priority, wait, prefer, idempotency_key, traceparent
    )


Call = Annotated[SubmitCall, Depends(submit_call)]


@router.post(
    "/jobs",
    status_code=202,
    response_model=JobView,
    responses={200: {"model": JobView, "description": "Terminal within the wait."}, **_REFUSALS},
    openapi_extra=SUBMIT_BODY,
)
async def submit(call: Call, services: ServicesDep) -> Response:
    """Submit a scan and get its job; poll it at `Location`.

    The answer is sent at once, unless `wait` or `Prefer: wait=N` asks to hold it.
    """
    return await _submit_and_wait(call, services, call.preference(services, default_s=0))


@router.post(
    "/predict",
    response_model=JobView,
    responses={
        202: {"model": JobView, "description": "Not terminal yet; poll `Location`."},
        **_REFUSALS,
    },
    openapi_extra=SUBMIT_BODY,
)
async def predict(call: Call, services: ServicesDep) -> Response:
    """Submit a scan and block until its job is terminal, or the wait is over.

    A failed job is a 200 too, because the call itself worked: its `status` is `failed` and its
    `error` is the problem. When the wait is over the job continues, and the answer is 202.
    """
    preference = call.preference(services, default_s=services.settings.max_wait_s)
    return await _submit_and_wait(call, services, preference)


async def _submit_and_wait(
    call: SubmitCall, services: Services, preference: WaitPreference
) -> Response:
    job = await _submit(call, services)
    if preference.wait_s > 0 and not job.status.terminal:
        job = await while_connected(call.request, services.waiters.wait(job.id, preference.wait_s))
    return job_response(
        job,
        accepted=not job.status.terminal,
        headers=preference.headers,
        started_at=call.started_at,
    )


async def _submit(call: SubmitCall, services: Services) -> Job:
    async with received_scan(call.request, services, call.model, call.priority) as scan:
        submission = Submission(
            id=scan.job_id,
            model=scan.model.name,
            version=scan.model.version,
            priority=scan.priority,
            scans=scan.scans,
            sha256=scan.sha256,
            created_at=datetime.now(UTC),
            idempotency_key=call.idempotency_key,
            traceparent=call.traceparent,
        )
        await services.thread_pools.uploads.run(services.store_upkeep.write_record, submission)
        receipt = await services.queue.submit(submission)
    log.info("job_submitted", job=receipt.job.id, model=scan.model.ref, created=receipt.created)
    if not receipt.created:
        await delete_files(services, scan.job_id)
    return receipt.job
