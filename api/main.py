"""The application: its routes, its middleware, its errors, and the services that it opens."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request

from api.http.docs_page import add_docs
from api.http.drain_body import DrainBody
from api.http.hosts import AllowedHosts, HostCheck
from api.http.openapi import remove_default_422
from api.http.problems import install_problem_handlers
from api.http.request_log import RequestLog
from api.http.security_headers import SecurityHeaders
from api.http.static_page import page_router
from api.job_id import is_job_id
from api.metrics.registry import Metrics
from api.routes import events, files, health, jobs, models, sample, submit
from api.services import Services, open_services
from api.vital_tasks import VitalTasks
from shared.settings import Settings
from shared.version import VERSION

DESCRIPTION = """\
Submit an MRI volume, poll its job or block for it, and get a mask back in the scan's own grid.

Errors are RFC 9457 problems (`application/problem+json`). Not a medical device.
"""


def create_app(settings: Settings, *, host: str = "") -> FastAPI:
    """Return the application; it opens its services when it starts and closes them when it stops.

    ``host`` is the address that the service listens on; requests may name it.
    """
    metrics, vital_tasks = Metrics(), VitalTasks()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Metrics]]:
        async with open_services(settings, metrics, vital_tasks) as services:
            app.state.services = services
            yield {"metrics": metrics}

    app = FastAPI(
        title="VoxelQ",
        version=VERSION,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.vital_tasks = vital_tasks
    # A request passes through the last one first.
    app.add_middleware(HostCheck, allowed=AllowedHosts(settings.allowed_hosts, host))
    app.add_middleware(RequestLog, metrics=metrics)
    app.add_middleware(DrainBody)
    app.add_middleware(SecurityHeaders)
    install_problem_handlers(app, _has_lost)
    for module in (submit, jobs, events, files, models, sample, health):
        app.include_router(module.router)
    app.include_router(page_router())
    remove_default_422(app)
    add_docs(app)
    return app


async def _has_lost(request: Request, job_id: str) -> bool:
    services: Services = request.app.state.services
    return is_job_id(job_id) and await services.store_upkeep.has_lost(job_id)
