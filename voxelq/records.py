"""What the service answers about jobs, models and its queue, as frozen dataclasses.

Times of day are aware datetimes in UTC, durations are in seconds, volumes in millilitres and
places in millimetres. Members that a newer service adds have no field, and stay in ``document``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Priority(StrEnum):
    """How urgent a scan is. The order in this class is the order in which scans are served."""

    STAT = "stat"  #: A patient waits for the result.
    ROUTINE = "routine"  #: The default.
    BULK = "bulk"  #: Research, served when nothing else waits.


class JobStatus(StrEnum):
    """The state of a job."""

    QUEUED = "queued"  #: The job waits for a worker.
    STARTED = "started"  #: A worker computes it.
    FINISHED = "finished"  #: The mask can be fetched.
    FAILED = "failed"  #: It ended with a problem.
    CANCELED = "canceled"  #: It was canceled by a client.


#: The states that a job never leaves.
TERMINAL = frozenset({JobStatus.FINISHED, JobStatus.FAILED, JobStatus.CANCELED})


@dataclass(frozen=True)
class Answer:
    """An answer of the service.

    Attributes:
        document: The whole JSON of the answer, with members that this version has no field for.
    """

    document: Mapping[str, Any] = field(
        default_factory=dict, repr=False, compare=False, kw_only=True
    )


@dataclass(frozen=True)
class Problem:
    """An RFC 9457 problem: why a call was refused, or why a job failed."""

    type: str = "about:blank"
    title: str = "The service refused"
    status: int = 0
    detail: str = ""

    def __str__(self) -> str:
        return self.detail or self.title


@dataclass(frozen=True)
class ModelRef:
    """The model that a job runs through."""

    name: str
    version: str


@dataclass(frozen=True)
class Tumor:
    """Whether there is a tumour, with its probability (0 to 1) and its volume."""

    present: bool
    probability: float
    volume_ml: float


@dataclass(frozen=True)
class Label:
    """One label of a mask, measured in the scan's own grid.

    Attributes:
        value: The label's value in the mask.
        name: What it means.
        voxels: How many voxels have it.
        volume_ml: Their volume in millilitres.
        centroid_mm: Their centre in the scanner's RAS+ millimetres (the affine's space).
        bounding_box: The lowest and the highest voxel index on each axis, both inclusive.
    """

    value: int
    name: str
    voxels: int
    volume_ml: float
    centroid_mm: tuple[float, float, float] | None = None
    bounding_box: tuple[tuple[int, int, int], tuple[int, int, int]] | None = None


@dataclass(frozen=True)
class ScanGrid:
    """The scan's grid: voxels on each axis, their size, and axis codes such as ``LPS``."""

    shape: tuple[int, int, int]
    voxel_mm: tuple[float, float, float]
    orientation: str


@dataclass(frozen=True)
class ScanWarning:
    """Something about the scan that makes the result less sure, though it was computed."""

    code: str
    detail: str = ""


@dataclass(frozen=True)
class Result:
    """What the network found; ``sha256`` is that of the scan's bytes as they were submitted."""

    tumor: Tumor
    labels: tuple[Label, ...] = ()
    scan: ScanGrid | None = None
    warnings: tuple[ScanWarning, ...] = ()
    sha256: str = ""


@dataclass(frozen=True)
class Batch:
    """The forward pass that a job shared, and with how many scans."""

    id: str
    size: int


@dataclass(frozen=True)
class JobState(Answer):
    """A job as it was when the service answered.

    Attributes:
        id: The job's id.
        status: ``queued``, ``started``, ``finished``, ``failed`` or ``canceled``.
        priority: ``stat``, ``routine`` or ``bulk``.
        attempts: How often a worker began with it.
        position: How many jobs are ahead of it while it is queued, else None.
        eta_s: Seconds until it is finished, as estimated from what scans cost lately.
        progress: From 0 to 1.
        stage: What is being done while it is started, such as ``inference``.
        timings_s: Seconds by stage, and their ``total``; None until it is finished.
        error: Why it failed.
        document: The whole JSON of the answer.
    """

    id: str
    status: str
    priority: str
    attempts: int
    model: ModelRef
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    position: int | None = None
    eta_s: float | None = None
    progress: float = 0.0
    stage: str | None = None
    worker: str | None = None
    result: Result | None = None
    batch: Batch | None = None
    timings_s: Mapping[str, float] | None = None
    error: Problem | None = None

    @property
    def terminal(self) -> bool:
        """Whether the job has ended, and can no longer change."""
        return self.status in TERMINAL


@dataclass(frozen=True)
class JobPage(Answer):
    """Jobs, newest first; ``next_cursor`` is None on the last page."""

    jobs: tuple[JobState, ...]
    next_cursor: str | None = None


@dataclass(frozen=True)
class ModelInput:
    """One channel that a model takes, and the MR sequence it holds."""

    name: str
    modality: str = ""


@dataclass(frozen=True)
class ModelLabel:
    """One value of a model's masks and its meaning."""

    value: int
    name: str


@dataclass(frozen=True)
class Model:
    """A model that is served. ``inputs`` are the names of the channels that it takes."""

    name: str
    version: str
    default: bool = False
    description: str = ""
    inputs: tuple[ModelInput, ...] = ()
    labels: tuple[ModelLabel, ...] = ()
    license: str = ""
    intended_use: str = ""


@dataclass(frozen=True)
class UnservedModel:
    """A model that the service has and does not serve, and why."""

    name: str
    version: str
    reason: str


@dataclass(frozen=True)
class Models(Answer):
    """The models that are served, those that are broken, and those that are being copied.

    Iterating over it gives those that are served.
    """

    models: tuple[Model, ...]
    broken: tuple[UnservedModel, ...] = ()
    arriving: tuple[UnservedModel, ...] = ()

    def __iter__(self) -> Iterator[Model]:
        return iter(self.models)

    def __len__(self) -> int:
        return len(self.models)

    @property
    def default(self) -> Model | None:
        """The model that scans go through unless they name one."""
        return next((model for model in self.models if model.default), None)


@dataclass(frozen=True)
class Worker:
    """A live worker and the ids of the jobs that it works on.

    ``paused`` says why it takes no jobs just now, and is None while it does.
    """

    id: str
    device: str = ""
    model: str | None = None
    batch: tuple[str, ...] = ()
    precision: str = ""
    peak_memory_bytes: int | None = None
    paused: str | None = None


@dataclass(frozen=True)
class Queue:
    """The queue just now.

    Attributes:
        queued: Jobs that wait for a worker.
        started: Jobs that a worker has begun.
        workers: The live workers.
        seconds_per_scan: What a scan costs now; None before the first.
        eta_s: Seconds that a scan submitted now would wait, as estimated.
        scans_per_batch: What batches held lately; None before the first.
        scans_per_hour: Scans finished in the last ten minutes, as a rate.
    """

    queued: int
    started: int
    workers: tuple[Worker, ...] = field(default=())
    seconds_per_scan: float | None = None
    eta_s: float | None = None
    scans_per_batch: float | None = None
    scans_per_hour: float = 0.0
