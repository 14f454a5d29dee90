"""What a batch service needs of whatever computes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from worker.device.compute_mode import ComputeMode
from worker.pipeline.outcomes import LeasedJob, Outcome
from worker.pipeline.progress import ProgressBoard
from worker.pipeline.trouble import Trouble


class Engine(Protocol):
    """Models on one device. `run` and `discard` are called by several lanes at once."""

    @property
    def device(self) -> str:
        """Where it computes, such as ``cpu`` or ``cuda:0``."""

    @property
    def model(self) -> str:
        """``name@version`` of the network that was loaded last."""

    @property
    def lanes(self) -> int:
        """How many batches may be on their way at once, from reading to writing."""

    @property
    def concurrency(self) -> int:
        """How many of those may compute at the same time."""

    @property
    def arithmetic(self) -> ComputeMode:
        """How that network is computed."""

    @property
    def peak_memory_bytes(self) -> int | None:
        """The most memory held since nothing was in hand; None if that is unknown."""

    @property
    def progress(self) -> ProgressBoard:
        """Where `run` notes how far its jobs have come."""

    def counted(self) -> Mapping[str, float]:
        """Return what was counted since the last call, by `worker_metrics.FAMILIES`."""

    def run(
        self, jobs: Sequence[LeasedJob], worker_id: str, is_lost: Callable[[LeasedJob], bool]
    ) -> list[Outcome]:
        """Compute one batch of one model; one outcome a claim, in order. Never raises."""

    def check(self, *, thorough: bool) -> Trouble | None:
        """Return what keeps this worker from serving; None while all is well. Never raises.

        It is asked every second or so; a ``thorough`` check may cost as much as a scan.
        """

    def prepare(self, model_ref: str) -> None:
        """Load ``name@version`` if it is not loaded. Never raises."""

    def refresh_models(self) -> None:
        """Look after the models on disk. Never raises."""

    def discard(self, job: LeasedJob) -> None:
        """Remove what was written for a claim whose outcome was dropped."""

    def idle(self) -> None:
        """Give back what is only worth holding under load."""
