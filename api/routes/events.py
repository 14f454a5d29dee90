"""Following a job live, by server-sent events."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Header, Response
from fastapi.responses import StreamingResponse

from api.http.openapi import problem_responses
from api.job_id import JobId
from api.services import ServicesDep
from shared.errors import BadRequest, JobNotFound, ServiceUnavailable

router = APIRouter(tags=["jobs"])

_MEDIA_TYPE = "text/event-stream"
# Proxies must neither cache the stream nor buffer it.
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
            "has it. The last one shows the terminal job.",
            "content": {_MEDIA_TYPE: {"schema": {"type": "string"}, "example": _EXAMPLE}},
        },
        204: {"description": "`Last-Event-ID` is that of the terminal job: no message follows."},
        **problem_responses(BadRequest, JobNotFound, ServiceUnavailable),
    },
)
async def follow_job(
    services: ServicesDep,
    job_id: JobId,
    last_event_id: Annotated[
        str | None,
        Header(description="The id of the last message received; later ones are sent again."),
    ] = None,
) -> Response:
    """Follow a job: its state now, then every change of status, position, stage and progress.

    The stream ends once the job is terminal. A comment is sent every 15 s when nothing changes. If
    the stream ends earlier, open it again; an `EventSource` does so by itself.
    """
    messages = services.followers.follow(job_id, _message_id(last_event_id))
    first = await anext(messages, None)
    if first is None:
        return Response(status_code=204)
    return EventStream(_joined(first, messages), headers=_HEADERS)


async def _joined(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with aclosing(rest):
        yield first
        async for message in rest:
            yield message


def _message_id(text: str | None) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_ID_DIGITS):
        raise BadRequest("Last-Event-ID is the id of a message that this call sent: a number.")
    return int(text)
