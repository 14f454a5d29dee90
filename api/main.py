"""The application: its calls, its errors, and what it opens and closes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import fastapi_offline
from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from api.dependencies import FrontDesk, is_job_id
from api.event_reader import EventReader
from api.following import JobFollowers
from api.lingering import LingeringClose
from api.metrics import Metrics
from api.models_desk import ModelsDesk
from api.observer import RequestObserver
from api.openapi import describe_truly
from api.orphans import Orphans
from api.pages import page_router
from api.problems import install_problem_handlers
from api.readiness import ServiceReadiness
from api.routes import events, files, health, jobs, models, sample, submits
from api.storage import Storage
from api.waiting import JobWaiter
from shared.catalog import ModelCatalog
from shared.job_queue import JobQueue
from shared.settings import Settings
from shared.store import ScanStore
from shared.version import VERSION

DESCRIPTION = """\
Hand in an MRI volume, poll its job or block for it, and get a mask back in the scan's own grid.

Errors are RFC 9457 problems (`application/problem+json`). Not a medical device.
"""

# Swagger UI from a package: hospital networks reach no CDN.
_SWAGGER_UI = Path(fastapi_offline.__file__).parent / "static"


def create_app(settings: Settings) -> FastAPI:
    """Return the application; it opens the queue as it starts and closes it as it stops."""
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with JobQueue(settings) as queue:
            store = ScanStore(
                settings.store_url,
                unpacked_bytes=settings.unpacked_bytes,
                reserve_bytes=settings.store_reserve_bytes,
            )
            storage = Storage(settings, store)
            waiter, followers = JobWaiter(queue, storage.has_lost), JobFollowers(queue)
            reader, orphans = EventReader(queue, [waiter, followers]), Orphans(queue, store)

            async def store_notes() -> list[str]:
                return storage.notes

            readiness = ServiceReadiness(queue, lambda: storage.trouble, [store_notes])
            metrics.blocked_clients.set_function(lambda: waiter.blocked)
            metrics.following_clients.set_function(lambda: followers.count)
            app.state.desk = FrontDesk(
                settings=settings,
                queue=queue,
                store=store,
                storage=storage,
                models=ModelsDesk(
                    ModelCatalog(settings.models_dirs), queue, reader, settings.default_model
                ),
                reader=reader,
                waiter=waiter,
                followers=followers,
                orphans=orphans,
                metrics=metrics,
                readiness=readiness,
            )
            async with (
                reader.running(),
                followers.running(),
                orphans.running(),
                storage.running(),
                readiness.running(),
            ):
                yield

    app = FastAPI(
        title="VoxelQ",
        version=VERSION,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_middleware(RequestObserver, metrics=metrics)
    app.add_middleware(LingeringClose)
    install_problem_handlers(app, _has_lost)
    for module in (submits, jobs, events, files, models, sample, health):
        app.include_router(module.router)
    app.include_router(page_router())
    describe_truly(app)
    _add_docs(app)
    return app


async def _has_lost(request: Request, job_id: str) -> bool:
    storage: Storage = request.app.state.desk.storage
    return is_job_id(job_id) and await storage.has_lost(job_id)


def _add_docs(app: FastAPI) -> None:
    app.mount("/docs/assets", StaticFiles(directory=_SWAGGER_UI))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="VoxelQ",
            swagger_js_url="/docs/assets/swagger-ui-bundle.js",
            swagger_css_url="/docs/assets/swagger-ui.css",
            swagger_favicon_url="/docs/assets/favicon.png",
        )
