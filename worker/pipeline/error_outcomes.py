"""The outcome of a job whose scan raised an error: its own fault, its worker's, or transient."""

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

#: Statuses of transient problems: Redis or the store is away, or the store is full.
_TRANSIENT_STATUSES = frozenset({503, 507})


def is_suspicious(error: Exception) -> bool:
    """Tell whether the cause may be outside the scan, so that the worker must check itself."""
    return not isinstance(error, VoxelQError) or isinstance(error, (ScanMissing, StoreUnavailable))


def certain_trouble(error: Exception, model: str) -> Trouble | None:
    """Return the trouble that an error proves; None where a self-check must decide."""
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
    """Return the outcome of a job whose scan raised ``error`` while no other scan was involved.

    Of an unexpected error the problem gives only the kind, because its message may quote the scan.
    The log shows where it was raised.
    """
    instance = f"/jobs/{job.id}"
    if isinstance(error, VoxelQError):
        problem = error.problem(instance)
        return Retry(problem) if error.status in _TRANSIENT_STATUSES else Failed(problem)
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
    # An error of the disk may pass; any other one would be raised again.
    return Retry(failure) if isinstance(error, OSError) else Failed(failure)
