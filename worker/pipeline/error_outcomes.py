"""What becomes of a job that met an error: its own fault, its worker's, or one that may pass."""

import structlog

from shared.errors import (
    InferenceFailed,
    ModelNotReady,
    ScanMissing,
    StoreFull,
    StoreUnavailable,
    VoxelQError,
    WrongStore,
)
from shared.telemetry import log_unexpected_error
from worker.inference.oom import is_out_of_memory
from worker.pipeline.outcomes import Failed, LeasedJob, Outcome, Retry, Returned
from worker.pipeline.trouble import Trouble

log = structlog.get_logger()

#: Statuses of problems that another try may not meet: Redis or the store away, or the store full.
_PASSING_STATUSES = frozenset({503, 507})


def is_suspicious(error: Exception) -> bool:
    """Tell whether an error may have its cause outside the scan, so that a self-check is due."""
    return not isinstance(error, VoxelQError) or isinstance(error, (ScanMissing, StoreUnavailable))


def certain_trouble(error: Exception, model: str) -> Trouble | None:
    """Return the trouble that an error tells of by itself; None where it takes a self-check."""
    if isinstance(error, (StoreFull, WrongStore)):
        return Trouble(error.detail)
    if isinstance(error, ModelNotReady):
        return Trouble(error.detail, model=model)
    return None


def returned(error: Exception, trouble: Trouble, job: LeasedJob) -> Returned:
    """Return the outcome of a job whose worker is in ``trouble``."""
    outcome = outcome_of(error, job, log_it=False)
    problem = outcome.problem if isinstance(outcome, (Failed, Retry)) else {}
    return Returned(problem, trouble)


def outcome_of(error: Exception, job: LeasedJob, *, log_it: bool = True) -> Outcome:
    """Return the outcome of a job whose scan met ``error``, run alone or singled out.

    The problem names an error that nobody foresaw by its kind only: its message may quote the
    scan. The log tells where it was raised.
    """
    instance = f"/jobs/{job.id}"
    if isinstance(error, VoxelQError):
        problem = error.problem(instance)
        return Retry(problem) if error.status in _PASSING_STATUSES else Failed(problem)
    if is_out_of_memory(error):
        if log_it:
            log.error("scan_out_of_memory", job=job.id)
        lacking = InferenceFailed(
            "There was not enough memory for this scan, even in a forward pass of its own. "
            "A smaller volume or a worker with more memory may do."
        )
        return Retry(lacking.problem(instance))
    if log_it:
        log_unexpected_error("scan_failed", error, job=job.id)
    failure = InferenceFailed(
        f"{type(error).__name__} was raised while this scan was computed; "
        "the worker's log says where."
    ).problem(instance)
    # A disk that stumbles may stand again; anything else would only repeat itself.
    return Retry(failure) if isinstance(error, OSError) else Failed(failure)
