"""What `Client` and `AsyncClient` have in common: the data of a job and of its prediction."""

from collections.abc import Mapping
from dataclasses import dataclass

from voxelq.errors import JobCanceled, JobFailed, UnexpectedAnswer
from voxelq.records import JobState, JobStatus, Label, ModelRef, Result, ScanWarning


class JobHandle:
    """A job of the service, with its last known state in ``state``."""

    def __init__(self, state: JobState) -> None:
        self.state = state

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.status}>"

    @property
    def id(self) -> str:
        """The job's id."""
        return self.state.id

    @property
    def status(self) -> str:
        """``queued``, ``started``, ``finished``, ``failed`` or ``canceled``, as last known."""
        return self.state.status

    @property
    def position(self) -> int | None:
        """How many jobs were ahead of it, as last known; None unless it is queued."""
        return self.state.position

    @property
    def eta_s(self) -> float | None:
        """Seconds until it is finished, as the service last estimated."""
        return self.state.eta_s

    @property
    def progress(self) -> float:
        """Its progress from 0 to 1, as last known."""
        return self.state.progress

    @property
    def done(self) -> bool:
        """Whether it has ended: finished, failed or canceled."""
        return self.state.terminal


@dataclass(frozen=True)
class PredictionFacts:
    """What the network found in one scan.

    Attributes:
        result: The whole result.
        timings_s: Seconds by stage (``queue``, ``load``, ``preprocess``, ``inference``,
            ``postprocess``, ``store``) and their ``total``.
        model: The name and version of the model.
    """

    result: Result
    timings_s: Mapping[str, float]
    model: ModelRef

    @property
    def present(self) -> bool:
        """Whether there is a tumour."""
        return self.result.tumor.present

    @property
    def probability(self) -> float:
        """The probability that there is one, from 0 to 1."""
        return self.result.tumor.probability

    @property
    def volume_ml(self) -> float:
        """Its volume in millilitres; 0 where there is none."""
        return self.result.tumor.volume_ml

    @property
    def labels(self) -> tuple[Label, ...]:
        """Each label of the mask with its voxels, volume, centre and bounding box."""
        return self.result.labels

    @property
    def warnings(self) -> tuple[ScanWarning, ...]:
        """What about the scan makes the result less sure; empty for most scans."""
        return self.result.warnings


def result_of(state: JobState) -> tuple[Result, Mapping[str, float], ModelRef]:
    """Return the facts of a prediction from a job that has ended.

    Raises:
        JobFailed: It failed.
        JobCanceled: It was canceled.
        UnexpectedAnswer: It has neither an error nor a result.
    """
    if state.status == JobStatus.CANCELED:
        raise JobCanceled(state.id)
    if state.error is not None:
        raise JobFailed(state.id, state.error)
    if state.result is None:
        raise UnexpectedAnswer(f"Job {state.id} is {state.status} and has no result.")
    return state.result, state.timings_s or {}, state.model
