"""Whether a scan or its worker's environment is at fault for an error.

The error alone does not show it. A full disk and a bad sector, or a dead GPU and a scan that a
network cannot compute, raise errors of the same kinds. So the worker checks itself: what fails
without any scan is no scan's fault.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from worker.inference.oom import is_out_of_memory
from worker.pipeline.error_outcomes import certain_trouble, is_suspicious, outcome_of, returned
from worker.pipeline.outcomes import LeasedJob, Outcome
from worker.pipeline.self_check import StoreCheck
from worker.pipeline.trouble import Trouble


@dataclass(frozen=True)
class ScanError:
    """The error of one job's scan; ``voxels`` is its size, None if it was not read."""

    job: LeasedJob
    error: Exception
    voxels: int | None = None


class FaultAttribution:
    """Turns the errors of a batch into outcomes; thread-safe."""

    def __init__(self, check_store: StoreCheck | None) -> None:
        self._check_store = check_store
        self._largest = _LargestScans()

    def outcomes(
        self,
        errors: Sequence[ScanError],
        model: str,
        largest_finished: int,
        check_device: Callable[[], Trouble | None] | None,
    ) -> list[Outcome]:
        """Return one outcome for each error, in order.

        Args:
            errors: The errors of one batch's scans, each raised while no other scan was involved.
            model: ``name@version`` of the model they were for.
            largest_finished: Voxels of the largest scan of the batch that succeeded; 0 for none.
            check_device: Runs that model's network on an empty input; None if it is not loaded.
        """
        suspicious = [scan for scan in errors if is_suspicious(scan.error)]
        trouble = None
        if suspicious:
            trouble = (
                (self._check_store(thorough=True) if self._check_store else None)
                or self._lack_of_memory(suspicious, model, largest_finished)
                or (check_device() if check_device else None)
            )
        self._largest.add(model, largest_finished)
        return [self._outcome(scan, model, trouble) for scan in errors]

    def _lack_of_memory(
        self, suspicious: Sequence[ScanError], model: str, largest_finished: int
    ) -> Trouble | None:
        """Return trouble if memory ran out on a scan no larger than one that succeeded before."""
        for scan in suspicious:
            voxels = scan.voxels if is_out_of_memory(scan.error) else None
            if voxels and largest_finished < voxels <= self._largest.of(model):
                return Trouble(
                    "There is less memory than before: a scan ran out of it that is no larger "
                    "than others that succeeded."
                )
        return None

    @staticmethod
    def _outcome(scan: ScanError, model: str, trouble: Trouble | None) -> Outcome:
        cause = certain_trouble(scan.error, model) or (
            trouble if is_suspicious(scan.error) else None
        )
        if cause is not None:
            return returned(scan.error, cause, scan.job)
        return outcome_of(scan.error, scan.job)


class _LargestScans:
    """The largest scan that each model has computed in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._voxels: dict[str, int] = {}

    def add(self, model: str, voxels: int) -> None:
        with self._lock:
            self._voxels[model] = max(voxels, self._voxels.get(model, 0))

    def of(self, model: str) -> int:
        with self._lock:
            return self._voxels.get(model, 0)
