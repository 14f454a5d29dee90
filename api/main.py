"""The application: its calls, its errors, and what it opens and closes."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI, Request

from api.admission.queue_room import QueueRoom
from api.admission.upload_gate import UploadGate
from api.http.docs_page import add_docs
from api.http.drain_body import LingeringClose
from api.http.hosts import AllowedHosts, HostCheck
from api.http.openapi import describe_truly
from api.http.problems import install_problem_handlers
from api.http.request_log import RequestLog
from api.http.security_headers import SecurityHeaders
from api.http.static_page import page_router
from api.live.event_reader import EventReader
from api.live.followers import JobFollowers
from api.live.waiters import JobWaiter
from api.metrics.registry import Metrics
from api.model_registry import ModelRegistry
from api.readiness import ServiceReadiness
from api.routes import events, files, health, jobs, models, sample, submits
from api.services import Services, is_job_id
from api.store_upkeep import StoreUpkeep
from api.thread_pools import FileThreads
from api.undecided_uploads import UndecidedUploads
from api.vital_tasks import VitalTasks
from shared.bundles.catalog import ModelCatalog
from shared.queue.job_queue import JobQueue
from shared.settings import Settings
from shared.storage.store import ScanStore
from shared.version import VERSION

DESCRIPTION = """\
Submit an MRI volume, poll its job or block for it, and get a mask back in the scan's own grid.

Errors are RFC 9457 problems (`application/problem+json`). Not a medical device.
"""


def create_app(settings: Settings, *, host: str = "") -> FastAPI:
    """Return the application; it opens the queue as it starts and closes it as it stops.

    ``host`` is what it is told to listen on; requests may name it.
    """
    metrics, vital, threads = Metrics(), VitalTasks(), FileThreads()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Metrics]]:
        async with JobQueue(settings) as queue:
            store = ScanStore(
                settings.store_url,
                decompressed_bytes=settings.decompressed_bytes,
                reserve_bytes=settings.store_reserve_bytes,
            )
            store_upkeep = StoreUpkeep(settings, store, threads.files)
            waiter, followers = JobWaiter(queue, store_upkeep.has_lost), JobFollowers(queue)
            reader = EventReader(queue, [waiter, followers])
            undecided_uploads = UndecidedUploads(queue, store, threads.uploads)

            async def store_notes() -> list[str]:
                return store_upkeep.notes

            readiness = ServiceReadiness(queue, lambda: store_upkeep.trouble, [store_notes])
            metrics.blocked_clients.set_function(lambda: waiter.blocked)
            metrics.following_clients.set_function(lambda: followers.count)
            app.state.services = Services(
                settings=settings,
                queue=queue,
                store=store,
                store_upkeep=store_upkeep,
                models=ModelRegistry(
                    ModelCatalog(settings.models_dirs),
                    queue,
                    reader,
                    settings.default_model,
                    threads.models,
                ),
                reader=reader,
                waiter=waiter,
                followers=followers,
                undecided_uploads=undecided_uploads,
                metrics=metrics,
                readiness=readiness,
                threads=threads,
                gate=UploadGate(settings.max_uploads),
                room=QueueRoom(queue, settings.max_queued),
                vital=vital,
            )
            async with AsyncExitStack() as running:
                running.enter_context(threads.running())
                for part in (
                    reader.running(vital),
                    followers.running(vital),
                    undecided_uploads.running(),
                    store_upkeep.running(),
                    readiness.running(),
                ):
                    await running.enter_async_context(part)
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
    app.state.vital = vital
    # the last one added is the first that a call meets
    app.add_middleware(HostCheck, allowed=AllowedHosts(settings.allowed_hosts, host))
    app.add_middleware(RequestLog, metrics=metrics)
    app.add_middleware(LingeringClose)
    app.add_middleware(SecurityHeaders)
    install_problem_handlers(app, _has_lost)
    for module in (submits, jobs, events, files, models, sample, health):
        app.include_router(module.router)
    app.include_router(page_router())
    describe_truly(app)
    add_docs(app)
    return app


async def _has_lost(request: Request, job_id: str) -> bool:
    store_upkeep: StoreUpkeep = request.app.state.services.store_upkeep
    return is_job_id(job_id) and await store_upkeep.has_lost(job_id)
