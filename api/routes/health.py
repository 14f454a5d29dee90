"""The state of the service: alive, ready, its queue, its metrics."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.http.openapi import problem_responses
from api.readiness import RETRY_AFTER_S, within_probe_timeout
from api.schemas import Health, QueueView, Readiness
from api.services import ServicesDep
from shared.errors import ProcessFailing, ServiceUnavailable

router = APIRouter(tags=["service"])


@router.get("/livez", response_model=Health, responses=problem_responses(ProcessFailing))
async def livez(services: ServicesDep) -> Health:
    """Check that this process works; asks neither Redis nor the workers."""
    if (failure := services.vital_tasks.failure) is not None:
        raise ProcessFailing(failure, retry_after_s=RETRY_AFTER_S)
    return Health(status="ok")


@router.get("/readyz", response_model=Readiness, responses=problem_responses(ServiceUnavailable))
async def readyz(services: ServicesDep) -> Readiness:
    """Check that a scan submitted now would be served: Redis answers and a worker draws jobs."""
    return Readiness(status="ok", notes=await services.readiness.check_ready())


@router.get("/queue", response_model=QueueView, responses=problem_responses(ServiceUnavailable))
async def queue(services: ServicesDep) -> QueueView:
    """Show the jobs that wait and run, the workers, and the seconds that a scan takes now."""
    return QueueView.of(await services.queue.state())


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus text."}},
)
async def metrics(services: ServicesDep) -> Response:
    """Show the metrics of this process, of the queue and of all workers."""
    try:
        state = await within_probe_timeout(services.queue.state())
    except ServiceUnavailable:
        state = None
    return Response(services.metrics.render(state), media_type=CONTENT_TYPE_LATEST)
