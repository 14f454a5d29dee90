"""The JSON that clients receive: the job, the models and the queue."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from shared.bundles.available_models import AvailableModels, Unserved
from shared.bundles.model_card import ModelCard, ModelInput, ModelLabel
from shared.jobs import Job, JobStatus, Priority, Stage
from shared.queue.job_queue import JobPage
from shared.queue.state import QueueState
from shared.results import BatchInfo, SegmentationResult, Timings


def _iso(moment: datetime) -> str:
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


Timestamp = Annotated[
    datetime,
    PlainSerializer(_iso, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]

_EXAMPLE_ID = "01KA8X6V5Q3T1N0Y2R4S6D8F0G"
_EXAMPLE_JOB: dict[str, Any] = {
    "id": _EXAMPLE_ID,
    "status": "finished",
    "priority": "routine",
    "attempts": 1,
    "model": {"name": "brain-tumor", "version": "1.0.0"},
    "worker": "worker-1",
    "created_at": "2026-11-21T09:00:00.123Z",
    "started_at": "2026-11-21T09:00:00.135Z",
    "finished_at": "2026-11-21T09:00:00.454Z",
    "position": None,
    "eta_s": None,
    "progress": 1.0,
    "stage": None,
    "result": {
        "tumor": {"present": True, "probability": 0.97, "volume_ml": 83.1},
        "labels": [
            {
                "value": 1,
                "name": "whole tumour",
                "voxels": 83100,
                "volume_ml": 83.1,
                "centroid_mm": [31.2, -12.0, 44.8],
                "bounding_box": [[60, 80, 40], [101, 130, 77]],
            }
        ],
        "scan": {"shape": [240, 240, 155], "voxel_mm": [1.0, 1.0, 1.0], "orientation": "LPS"},
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    },
    "batch": {"id": "01KA8X6V7B0000000000000000", "size": 4},
    "timings_s": {
        "queue": 0.012,
        "load": 0.04,
        "preprocess": 0.03,
        "inference": 0.21,
        "postprocess": 0.02,
        "store": 0.015,
        "total": 0.327,
    },
    "error": None,
    "links": {
        "self": f"/jobs/{_EXAMPLE_ID}",
        "mask": f"/jobs/{_EXAMPLE_ID}/mask",
        "scan": f"/jobs/{_EXAMPLE_ID}/scan",
        "preview": f"/jobs/{_EXAMPLE_ID}/preview.png",
        "events": f"/jobs/{_EXAMPLE_ID}/events",
    },
}


class Problem(BaseModel):
    """An RFC 9457 problem."""

    type: str = Field(examples=["urn:voxelq:problem:bad-scan"])
    title: str = Field(examples=["The volume cannot be used"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["The volume is not 3D: its axes are 240 x 240 x 155 x 4."])
    instance: str | None = Field(None, examples=["/jobs"])


class JobModel(BaseModel):
    """The model that a job runs through."""

    name: str
    version: str


class JobLinks(BaseModel):
    """The job's other resources; mask and preview answer 409 until it is finished."""

    model_config = ConfigDict(populate_by_name=True)

    self_: str = Field(alias="self")
    mask: str
    scan: str
    preview: str
    events: str


class JobView(BaseModel):
    """A job. ``position`` counts the jobs ahead while it is queued; times are in seconds.

    ``progress`` is from 0 to 1, and ``stage`` is null unless the job is started.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE_JOB]})

    id: str
    status: JobStatus
    priority: Priority
    attempts: int
    model: JobModel
    worker: str | None
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    position: int | None
    eta_s: float | None
    progress: float
    stage: Stage | None
    result: SegmentationResult | None
    batch: BatchInfo | None
    timings_s: Timings | None
    error: Problem | None
    links: JobLinks

    @classmethod
    def of(cls, job: Job) -> Self:
        """Return the view of ``job``."""
        submission, report = job.submission, job.report
        path = f"/jobs/{job.id}"
        return cls(
            id=job.id,
            status=job.status,
            priority=submission.priority,
            attempts=job.attempts,
            model=JobModel(name=submission.model, version=submission.version),
            worker=report.worker if report else job.worker,
            created_at=submission.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
            position=job.position,
            eta_s=job.eta_s,
            progress=job.progress,
            stage=job.stage,
            result=report.result if report else None,
            batch=report.batch if report else None,
            timings_s=report.timings_s if report else None,
            error=Problem.model_validate(job.error) if job.error else None,
            links=JobLinks(
                self_=path,
                mask=f"{path}/mask",
                scan=f"{path}/scan",
                preview=f"{path}/preview.png",
                events=f"{path}/events",
            ),
        )


class JobPageView(BaseModel):
    """Jobs, newest first; ``next_cursor`` is null on the last page."""

    jobs: list[JobView]
    next_cursor: str | None

    @classmethod
    def of(cls, page: JobPage) -> Self:
        """Return the view of ``page``."""
        return cls(jobs=[JobView.of(job) for job in page.jobs], next_cursor=page.next_cursor)


class ModelView(BaseModel):
    """A model that is served. Each input is a form field of a submit."""

    name: str
    version: str
    default: bool
    description: str
    inputs: tuple[ModelInput, ...]
    labels: tuple[ModelLabel, ...]
    license: str
    intended_use: str

    @classmethod
    def of(cls, card: ModelCard, *, default: bool) -> Self:
        """Return the view of ``card``."""
        return cls(
            name=card.name,
            version=card.version,
            default=default,
            description=card.description,
            inputs=card.inputs,
            labels=card.labels,
            license=card.license,
            intended_use=card.intended_use,
        )


class UnservedModelView(BaseModel):
    """A bundle that is in the folder of models and is not served."""

    name: str = Field(examples=["my-model"])
    version: str = Field(examples=["1.0.0"])
    reason: str = Field(examples=["models/model.pt is not whole: its end is missing."])

    @classmethod
    def of(cls, unserved: Unserved) -> Self:
        """Return the view of ``unserved``."""
        return cls(name=unserved.name, version=unserved.version, reason=unserved.reason)


class ModelListView(BaseModel):
    """All models that are served, by name, newest version first; ``broken`` ones need repair.

    ``arriving`` ones are still being copied, or wait for a worker to load them.
    """

    models: list[ModelView]
    broken: list[UnservedModelView]
    arriving: list[UnservedModelView]

    @classmethod
    def of(cls, available: AvailableModels) -> Self:
        """Return the view of ``available``."""
        default = available.default_ref
        return cls(
            models=[ModelView.of(card, default=card.ref == default) for card in available.cards],
            broken=[UnservedModelView.of(unserved) for unserved in available.broken],
            arriving=[UnservedModelView.of(unserved) for unserved in available.arriving],
        )


class WorkerView(BaseModel):
    """A live worker, the ids of the jobs it runs, and how it computes its model.

    ``peak_memory_bytes`` is the most it held since it was last idle: resident, or on the GPU.
    ``paused`` says why it draws no jobs now, and is null while it serves.
    """

    id: str
    model: str | None
    device: str
    batch: list[str]
    precision: str = Field(examples=["bf16"])
    memory_format: str = Field(examples=["contiguous"])
    compiled: bool
    peak_memory_bytes: int | None
    paused: str | None
    version: str | None


class QueueView(BaseModel):
    """The present state of the queue; ``eta_s`` is the estimated wait of a job submitted now.

    ``scans_per_batch`` is the recent mean, null before the first batch, and ``scans_per_hour`` is
    the rate at which scans were finished in the last ten minutes.
    """

    queued: int
    started: int
    workers: list[WorkerView]
    seconds_per_scan: float | None
    eta_s: float | None
    scans_per_batch: float | None
    scans_per_hour: float

    @classmethod
    def of(cls, state: QueueState) -> Self:
        """Return the view of ``state``."""
        return cls(
            queued=state.queued,
            started=state.started,
            workers=[WorkerView(**asdict(worker)) for worker in state.workers],
            seconds_per_scan=state.seconds_per_scan,
            eta_s=state.eta_s,
            scans_per_batch=state.scans_per_batch,
            scans_per_hour=state.scans_per_hour,
        )


class Health(BaseModel):
    """A service that works."""

    status: str = Field(examples=["ok"])


class Readiness(Health):
    """A service that serves scans; ``notes`` describe problems that do not prevent it."""

    notes: list[str] = Field(
        examples=[["The append-only file is off: accepted jobs are lost when Redis dies."]]
    )
