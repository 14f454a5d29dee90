"""The sample scan, for those who have none at hand."""

import hashlib
from functools import cache

from fastapi import APIRouter, Request, Response

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
            "description": "A FLAIR volume with a synthetic lesion; nobody has this tumour.",
        }
    },
)
async def sample(request: Request, services: ServicesDep) -> Response:
    """Fetch a sample scan, to be handed in as any other."""
    content, etag = await services.threads.models.run(_sample)
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    headers["Content-Disposition"] = f'attachment; filename="{SAMPLE_SCAN.name}"'
    return Response(content, headers=headers, media_type=_GZIP)


@cache
def _sample() -> tuple[bytes, str]:
    content = SAMPLE_SCAN.read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'
