"""The services that the calls use: opened when the process starts, injected into each call."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from api.admission.queue_room import QueueRoom
from api.admission.upload_gate import UploadGate
from api.live.event_reader import EventReader
from api.live.followers import JobFollowers
from api.live.waiters import JobWaiters
from api.metrics.registry import Metrics
from api.model_registry import ModelRegistry
from api.readiness import ServiceReadiness
from api.store_upkeep import StoreUpkeep
from api.thread_pools import ThreadPools
from api.undecided_uploads import UndecidedUploads
from api.vital_tasks import VitalTasks
from shared.bundles.catalog import ModelCatalog
from shared.queue.job_queue import JobQueue
from shared.settings import Settings
from shared.storage.store import ScanStore


@dataclass(frozen=True)
class Services:
    """Everything that the calls of one API process share."""

    settings: Settings
    queue: JobQueue
    store: ScanStore
    store_upkeep: StoreUpkeep
    model_registry: ModelRegistry
    event_reader: EventReader
    waiters: JobWaiters
    followers: JobFollowers
    undecided_uploads: UndecidedUploads
    metrics: Metrics
    readiness: ServiceReadiness
    thread_pools: ThreadPools
    upload_gate: UploadGate
    queue_room: QueueRoom
    vital_tasks: VitalTasks


@asynccontextmanager
async def open_services(
    settings: Settings, metrics: Metrics, vital_tasks: VitalTasks
) -> AsyncIterator[Services]:
    """Connect to the queue and run the background tasks until the block is left."""
    async with JobQueue(settings) as queue, AsyncExitStack() as running:
        services = _build(settings, queue, metrics, vital_tasks)
        metrics.blocked_clients.set_function(lambda: services.waiters.count)
        metrics.following_clients.set_function(lambda: services.followers.count)
        running.enter_context(services.thread_pools.running())
        for task in (
            services.event_reader.running(vital_tasks),
            services.followers.running(vital_tasks),
            services.undecided_uploads.running(),
            services.store_upkeep.running(),
            services.readiness.running(),
        ):
            await running.enter_async_context(task)
        yield services


def _build(
    settings: Settings, queue: JobQueue, metrics: Metrics, vital_tasks: VitalTasks
) -> Services:
    thread_pools = ThreadPools()
    store = ScanStore(
        settings.store_url,
        decompressed_bytes=settings.decompressed_bytes,
        reserve_bytes=settings.store_reserve_bytes,
    )
    store_upkeep = StoreUpkeep(settings, store, thread_pools.files)
    waiters = JobWaiters(queue, store_upkeep.has_lost)
    followers = JobFollowers(queue)
    event_reader = EventReader(queue, [waiters, followers])

    async def store_notes() -> list[str]:
        return store_upkeep.notes

    return Services(
        settings=settings,
        queue=queue,
        store=store,
        store_upkeep=store_upkeep,
        model_registry=ModelRegistry(
            ModelCatalog(settings.models_dirs),
            queue,
            event_reader,
            settings.default_model,
            thread_pools.models,
        ),
        event_reader=event_reader,
        waiters=waiters,
        followers=followers,
        undecided_uploads=UndecidedUploads(queue, store, thread_pools.uploads),
        metrics=metrics,
        readiness=ServiceReadiness(queue, lambda: store_upkeep.trouble, [store_notes]),
        thread_pools=thread_pools,
        upload_gate=UploadGate(settings.max_uploads),
        queue_room=QueueRoom(queue, settings.max_queued),
        vital_tasks=vital_tasks,
    )


# FastAPI would run a plain function in a thread, which takes longer than this one.
async def get_services(request: Request) -> Services:
    """Return the services of this process."""
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(get_services)]
