"""What the lanes need of the engine that computes their batches."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from worker.device.compute_mode import ComputeMode
from worker.pipeline.outcomes import LeasedJob, Outcome
from worker.pipeline.progress import ProgressBoard
from worker.pipeline.trouble import Trouble


class Engine(Protocol):
    """Loads models on one device and computes batches; several lanes call it at once."""

    @property
    def device(self) -> str:
        """Where it computes, such as ``cpu`` or ``cuda:0``."""

    @property
    def model(self) -> str:
        """``name@version`` of the network that was loaded last."""

    @property
    def lanes(self) -> int:
        """How many batches may be active at once, from reading to writing."""

    @property
    def concurrency(self) -> int:
        """How many of those batches may compute at the same time."""

    @property
    def compute_mode(self) -> ComputeMode:
        """How that network is computed."""

    @property
    def peak_memory_bytes(self) -> int | None:
        """The most memory held since no batch was active; None if that is unknown."""

    @property
    def progress(self) -> ProgressBoard:
        """Where `run` puts the progress of its jobs."""

    def take_metrics(self) -> Mapping[str, float]:
        """Return what was counted since the last call, by the names of `FAMILIES`."""

    def run(
        self, jobs: Sequence[LeasedJob], worker_id: str, is_lost: Callable[[LeasedJob], bool]
    ) -> list[Outcome]:
        """Compute one batch of one model; return one outcome a job, in order. Never raises."""

    def check(self, *, thorough: bool) -> Trouble | None:
        """Return the trouble that keeps this worker from serving, or None. Never raises.

        It is called about once a second; a ``thorough`` check may cost as much as a scan.
        """

    def prepare(self, model_ref: str) -> None:
        """Load ``name@version`` if it is not loaded. Never raises."""

    def refresh_models(self) -> None:
        """Check the models on disk for changes. Never raises."""

    def discard(self, job: LeasedJob) -> None:
        """Delete the files of a job whose outcome was dropped."""

    def idle(self) -> None:
        """Release memory that is only useful under load."""
