"""What the service answers, typed as far as the client reads it.

Members that a newer service adds are kept, so that ``--json`` shows all of an answer.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict

TERMINAL = frozenset({"finished", "failed", "canceled"})


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")


class ModelRef(_Answer):
    """The model a job runs through."""

    name: str
    version: str


class Tumor(_Answer):
    """Present or absent, how sure, and how large (millilitres)."""

    present: bool
    probability: float
    volume_ml: float


class Result(_Answer):
    """What the network found; labels and the scan's grid ride along as they came."""

    tumor: Tumor


class Problem(_Answer):
    """An RFC 9457 problem: why a call was refused, or why a job failed."""

    title: str = "The service refused"
    status: int | None = None
    detail: str | None = None

    def words(self) -> str:
        """Return what a person should read: the whole sentence, or at least the title."""
        return self.detail or self.title


class JobAnswer(_Answer):
    """A job as the service tells it. Times are ISO 8601, ``eta_s`` is in seconds."""

    id: str
    status: str
    priority: str
    attempts: int
    model: ModelRef
    created_at: str
    position: int | None = None
    eta_s: float | None = None
    progress: float = 0.0
    stage: str | None = None
    result: Result | None = None
    timings_s: dict[str, float] | None = None
    error: Problem | None = None

    @property
    def terminal(self) -> bool:
        """Whether the job can no longer change."""
        return self.status in TERMINAL


class JobsAnswer(_Answer):
    """One page of jobs, newest first."""

    jobs: list[JobAnswer]
    next_cursor: str | None = None


class ModelAnswer(_Answer):
    """A model that the service offers."""

    name: str
    version: str
    description: str = ""
    license: str = ""
    intended_use: str = ""
    default: bool = False
    inputs: list[dict[str, Any]] = []
    labels: list[dict[str, Any]] = []

    @property
    def input_names(self) -> list[str]:
        """The names of the channels that a scan must bring."""
        return [str(channel.get("name")) for channel in self.inputs]


class UnservedModel(_Answer):
    """A bundle that the service has and does not offer, and why."""

    name: str
    version: str
    reason: str


class ModelsAnswer(_Answer):
    """The models on offer, those that are broken, and those on their way."""

    models: list[ModelAnswer]
    broken: list[UnservedModel] = []
    arriving: list[UnservedModel] = []
