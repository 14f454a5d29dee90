"""What becomes of a job that met an error: its own fault, or one that may pass."""

import traceback

import structlog

from shared.errors import InferenceFailed, VoxelQError
from worker.lease import Claim, Failed, Outcome, Retry
from worker.out_of_memory import is_out_of_memory

log = structlog.get_logger()

#: Statuses of problems that another try may not meet: Redis or the store away, or the store full.
_PASSING_STATUSES = frozenset({503, 507})


def judge(error: Exception, claim: Claim) -> Outcome:
    """Return the outcome of a job whose scan met ``error``, run alone or singled out.

    The problem names an error that nobody foresaw by its kind only: its message may quote the
    scan. The log tells where it was raised.
    """
    instance = f"/jobs/{claim.id}"
    if isinstance(error, VoxelQError):
        problem = error.problem(instance)
        return Retry(problem) if error.status in _PASSING_STATUSES else Failed(problem)
    if is_out_of_memory(error):
        log.error("scan failed for lack of memory", job=claim.id)
        lacking = InferenceFailed(
            "There was not enough memory for this scan, even in a forward pass of its own. "
            "A smaller volume or a worker with more memory may do."
        )
        return Retry(lacking.problem(instance))
    log.error(
        "scan failed",
        job=claim.id,
        error=type(error).__name__,
        frames=traceback.format_tb(error.__traceback__)[-3:],
    )
    failure = InferenceFailed(
        f"{type(error).__name__} was raised while this scan was computed; "
        "the worker's log says where."
    ).problem(instance)
    # A device or a disk that stumbles may stand again; anything else would only repeat itself.
    return Retry(failure) if isinstance(error, OSError) else Failed(failure)
