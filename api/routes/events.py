"""Following a job live, by server-sent events."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Header, Response
from fastapi.responses import StreamingResponse

from api.http.openapi import problems
from api.services import JobId, ServicesDep
from shared.errors import BadRequest, JobNotFound, ServiceUnavailable

router = APIRouter(tags=["jobs"])

_MEDIA_TYPE = "text/event-stream"
# Whatever lies between is to pass each message on as it comes.
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_MAX_ID_DIGITS = 16

_EXAMPLE = 'event: job\nid: 2000000007\ndata: {"id": "01K…", "status": "started", …}\n\n'


class EventStream(StreamingResponse):
    """A stream of server-sent events."""

    media_type = _MEDIA_TYPE


@router.get(
    "/jobs/{job_id}/events",
    response_class=EventStream,
    responses={
        200: {
            "description": "Messages named `job`; each one's data is the job as `GET /jobs/{id}` "
            "has it. The last one tells the job's end.",
            "content": {_MEDIA_TYPE: {"schema": {"type": "string"}, "example": _EXAMPLE}},
        },
        204: {"description": "`Last-Event-ID` is that of the job's end: nothing more will come."},
        **problems(BadRequest, JobNotFound, ServiceUnavailable),
    },
)
async def follow_job(
    services: ServicesDep,
    job_id: JobId,
    last_event_id: Annotated[
        str | None,
        Header(description="The id of the last message that came; what it missed is told anew."),
    ] = None,
) -> Response:
    """Follow a job: the state now, then every change of status, place, stage and progress.

    The stream ends with the job. A comment comes every 15 s when there is nothing to say. A stream
    that ends earlier is to be opened anew, which an `EventSource` does by itself.
    """
    messages = services.followers.follow(job_id, _read_id(last_event_id))
    first = await anext(messages, None)
    if first is None:
        return Response(status_code=204)
    return EventStream(_all(first, messages), headers=_HEADERS)


async def _all(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with aclosing(rest):
        yield first
        async for message in rest:
            yield message


def _read_id(text: str | None) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_ID_DIGITS):
        raise BadRequest("Last-Event-ID is the id of a message that this call sent: a number.")
    return int(text)
