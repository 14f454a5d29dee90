"""The sample scan, for users who have no scan of their own to try."""

from functools import cache

from fastapi import APIRouter, Request, Response

from api.http.etag import etag_of, not_modified
from api.services import ServicesDep
from shared.sample import SAMPLE_SCAN

router = APIRouter(tags=["service"])

_GZIP = "application/gzip"


@router.get(
    "/sample.nii.gz",
    response_class=Response,
    responses={
        200: {
            "content": {_GZIP: {"schema": {"type": "string", "format": "binary"}}},
            "description": "A FLAIR volume with a synthetic lesion, of no real patient.",
        }
    },
)
async def sample(request: Request, services: ServicesDep) -> Response:
    """Fetch a sample scan, to be submitted like any other."""
    content, etag = await services.thread_pools.models.run(_sample)
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if (unchanged := not_modified(request, headers)) is not None:
        return unchanged
    headers["Content-Disposition"] = f'attachment; filename="{SAMPLE_SCAN.name}"'
    return Response(content, headers=headers, media_type=_GZIP)


@cache
def _sample() -> tuple[bytes, str]:
    content = SAMPLE_SCAN.read_bytes()
    return content, etag_of(content)
