"""What the calls lean on, opened by the lifespan and handed to them by type."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Request

from api.admission.queue_room import QueueRoom
from api.admission.upload_gate import UploadGate
from api.live.event_reader import EventReader
from api.live.followers import JobFollowers
from api.live.waiters import JobWaiter
from api.metrics.registry import Metrics
from api.model_registry import ModelRegistry
from api.readiness import ServiceReadiness
from api.store_upkeep import StoreUpkeep
from api.thread_pools import FileThreads
from api.undecided_uploads import UndecidedUploads
from api.vital_tasks import VitalTasks
from shared.errors import JobNotFound
from shared.queue.job_queue import JobQueue
from shared.settings import Settings
from shared.storage.store import ScanStore


@dataclass(frozen=True)
class Services:
    """Everything behind the counter of one API process."""

    settings: Settings
    queue: JobQueue
    store: ScanStore
    store_upkeep: StoreUpkeep
    models: ModelRegistry
    reader: EventReader
    waiter: JobWaiter
    followers: JobFollowers
    undecided_uploads: UndecidedUploads
    metrics: Metrics
    readiness: ServiceReadiness
    threads: FileThreads
    gate: UploadGate
    room: QueueRoom
    vital: VitalTasks


# FastAPI would run plain functions in threads, and these take no time at all.


async def get_services(request: Request) -> Services:
    """Return what the lifespan opened."""
    services: Services = request.app.state.services
    return services


_ULID_LENGTH = 26
_ULID_ALPHABET = frozenset("0123456789ABCDEFGHJKMNPQRSTVWXYZ")


def is_job_id(text: str) -> bool:
    """Tell whether a text may be a job's id."""
    return len(text) == _ULID_LENGTH and _ULID_ALPHABET.issuperset(text)


async def existing_job_id(
    job_id: Annotated[str, Path(examples=["01KA8X6V5Q3T1N0Y2R4S6D8F0G"], description="A ULID.")],
) -> str:
    """Return the id of the path; what cannot be an id names no job."""
    if not is_job_id(job_id):
        raise JobNotFound(job_id)
    return job_id


ServicesDep = Annotated[Services, Depends(get_services)]
JobId = Annotated[str, Depends(existing_job_id)]
