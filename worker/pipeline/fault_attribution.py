"""Whose fault an error is: its scan's, or that of the environment its worker runs in.

Errors do not tell. A full disk and a bad sector, a dead GPU and a scan that a network cannot bear
raise the same kinds. So where the scan cannot be told to be at fault, the worker checks itself:
whatever fails without any scan is no scan's fault.
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
    """What one job's scan met; ``voxels`` is its size, None where it was not read so far."""

    job: LeasedJob
    error: Exception
    voxels: int | None = None


class FaultAttribution:
    """Turns the errors of a batch into outcomes; any lane may call it."""

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
        """Return one outcome an error, in order.

        Args:
            errors: What the scans of one batch met, each alone or singled out.
            model: ``name@version`` of the model they were for.
            largest_finished: Voxels of the largest scan of the batch that went well; 0 for none.
            check_device: Runs that model's network on nothing; None where it is not loaded.
        """
        suspicious = [one for one in errors if is_suspicious(one.error)]
        trouble = None
        if suspicious:
            trouble = (
                (self._check_store(thorough=True) if self._check_store else None)
                or self._lack_of_memory(suspicious, model, largest_finished)
                or (check_device() if check_device else None)
            )
        self._largest.add(model, largest_finished)
        return [self._outcome(one, model, trouble) for one in errors]

    def _lack_of_memory(
        self, suspicious: Sequence[ScanError], model: str, largest_finished: int
    ) -> Trouble | None:
        """Tell of memory that ran out on a scan no larger than one of an earlier batch."""
        for one in suspicious:
            voxels = one.voxels if is_out_of_memory(one.error) else None
            if voxels and largest_finished < voxels <= self._largest.of(model):
                return Trouble(
                    "There is less memory than before: a scan ran out of it that is no larger "
                    "than others that went well."
                )
        return None

    @staticmethod
    def _outcome(one: ScanError, model: str, trouble: Trouble | None) -> Outcome:
        cause = certain_trouble(one.error, model) or (trouble if is_suspicious(one.error) else None)
        if cause is not None:
            return returned(one.error, cause, one.job)
        return outcome_of(one.error, one.job)


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
