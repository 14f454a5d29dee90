"""A job's files, streamed from the store: mask, picture and scan."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from api.http.etag import etag_of, not_modified
from api.http.openapi import problem_responses
from api.job_id import JobId
from api.services import Services, ServicesDep
from shared.errors import (
    BadRequest,
    JobNotFound,
    NotFinished,
    NotFound,
    ServiceUnavailable,
    StoreUnavailable,
)
from shared.jobs import Job, JobStatus

router = APIRouter(tags=["jobs"])

_GZIP = "application/gzip"
_BYTES = "application/octet-stream"

_NO_RESULT = {
    JobStatus.QUEUED: "The job is still queued; wait until it is finished.",
    JobStatus.STARTED: "The job has started and is not finished yet; wait until it is.",
    JobStatus.FAILED: "The job failed, so it has no result; its error says why.",
    JobStatus.CANCELED: "The job was canceled, so it has no result.",
}


@router.get(
    "/jobs/{job_id}/mask",
    response_class=StreamingResponse,
    responses={
        200: {"content": {_GZIP: {}}, "description": "The mask, `.nii.gz`, in the scan's grid."},
        **problem_responses(JobNotFound, NotFinished, ServiceUnavailable, StoreUnavailable),
    },
)
async def mask(request: Request, services: ServicesDep, job_id: JobId) -> Response:
    """Fetch the mask: the labels in the scan's own grid."""
    key = await _artefact(services, job_id, "mask")
    return await _file(request, services, job_id, key, f"{job_id}-mask.nii.gz", _GZIP)


@router.get(
    "/jobs/{job_id}/preview.png",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"image/png": {}}, "description": "The slice with the largest lesion."},
        **problem_responses(JobNotFound, NotFinished, ServiceUnavailable, StoreUnavailable),
    },
)
async def preview(request: Request, services: ServicesDep, job_id: JobId) -> Response:
    """Fetch one picture: the slice with the largest lesion, overlaid with the mask."""
    key = await _artefact(services, job_id, "preview")
    return await _file(request, services, job_id, key, f"{job_id}.png", "image/png", inline=True)


@router.get(
    "/jobs/{job_id}/scan",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {_GZIP: {}, _BYTES: {}},
            "description": "The scan as it was submitted, gzipped or not.",
        },
        **problem_responses(BadRequest, JobNotFound, ServiceUnavailable, StoreUnavailable),
    },
)
async def scan(
    request: Request,
    services: ServicesDep,
    job_id: JobId,
    channel: Annotated[
        str | None, Query(description="Which input of the model; default: its first.")
    ] = None,
) -> Response:
    """Fetch the scan as it is stored."""
    scans = (await services.queue.get(job_id)).submission.scans
    if not scans:
        raise NotFound("The job's record cannot be read, so its files are not known.")
    channel = channel or next(iter(scans))
    if channel not in scans:
        raise BadRequest(f"This job's channels are {', '.join(scans)}.")
    key = scans[channel]
    gzipped = key.endswith(".gz")
    name = f"{job_id}-{channel}" if len(scans) > 1 else job_id
    name += ".nii.gz" if gzipped else ".nii"
    return await _file(request, services, job_id, key, name, _GZIP if gzipped else _BYTES)


async def _artefact(services: Services, job_id: str, name: str) -> str:
    job: Job = await services.queue.get(job_id)
    if job.report is None and job.status is JobStatus.FINISHED:
        raise NotFound("The job's record cannot be read, so its files are not known.")
    if job.report is None:
        raise NotFinished(_NO_RESULT[job.status])
    return job.report.artefacts[name]


async def _file(
    request: Request,
    services: Services,
    job_id: str,
    key: str,
    file_name: str,
    media_type: str,
    *,
    inline: bool = False,
) -> Response:
    # Files are never overwritten, so the key identifies the content.
    headers = {"ETag": etag_of(key.encode()), "Cache-Control": "private, no-cache"}
    if (unchanged := not_modified(request, headers)) is not None:
        return unchanged
    size = await _size(services, job_id, key)
    headers["Content-Length"] = str(size)
    headers["Content-Disposition"] = (
        f'{"inline" if inline else "attachment"}; filename="{file_name}"'
    )
    pieces = services.thread_pools.files.pieces(services.store.chunks(key))
    return StreamingResponse(pieces, headers=headers, media_type=media_type)


async def _size(services: Services, job_id: str, key: str) -> int:
    """Return a file's size; raises JobNotFound, or StoreUnavailable without the store."""
    threads = services.thread_pools.files
    try:
        return await threads.run(services.store.size, key)
    except FileNotFoundError:
        await threads.run(services.store_upkeep.check)
    # The store may have come back between the two calls.
    try:
        return await threads.run(services.store.size, key)
    except FileNotFoundError as error:
        raise JobNotFound(job_id) from error
