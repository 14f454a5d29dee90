"""How the service is: alive, ready, its queue, its metrics."""

import asyncio

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.dependencies import Desk, FrontDesk
from api.openapi import problems
from api.schemas import Health, QueueView
from shared.errors import ServiceUnavailable
from shared.job_queue import QueueState

router = APIRouter(tags=["service"])

_RETRY_AFTER_S = 5

#: Those who probe and scrape do not wait for a Redis that hangs.
PROBE_TIMEOUT_S = 3.0


@router.get("/livez", response_model=Health)
async def livez() -> Health:
    """Tell that this process is alive; asks nobody else."""
    return Health(status="ok")


@router.get("/readyz", response_model=Health, responses=problems(ServiceUnavailable))
async def readyz(desk: Desk) -> Health:
    """Tell whether a scan handed in now would be served: Redis answers and a worker listens."""
    if not (await _state_soon(desk)).workers:
        raise ServiceUnavailable("No worker is listening.", retry_after_s=_RETRY_AFTER_S)
    return Health(status="ok")


@router.get("/queue", response_model=QueueView, responses=problems(ServiceUnavailable))
async def queue(desk: Desk) -> QueueView:
    """Show what waits, what runs and where, and what a scan costs just now."""
    return QueueView.of(await desk.queue.state())


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus text."}},
)
async def metrics(desk: Desk) -> Response:
    """Show the metrics of this process, of the queue and of all workers."""
    try:
        state = await _state_soon(desk)
    except ServiceUnavailable:
        state = None
    return Response(desk.metrics.render(state), media_type=CONTENT_TYPE_LATEST)


async def _state_soon(desk: FrontDesk) -> QueueState:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            return await desk.queue.state()
    except TimeoutError as error:
        raise ServiceUnavailable(
            "Redis takes too long to answer.", retry_after_s=_RETRY_AFTER_S
        ) from error
