"""Every error that the client raises on purpose.

::

    VoxelQError
    ├── RequestRefused           the service answered, and refused the call
    │   ├── BadRequest           400  a parameter that the service does not take
    │   ├── NotAllowed           401, 403  the key is missing, unknown or may not do this
    │   ├── NotFound             404  no such job or model
    │   ├── NotFinished          409  the job has no mask yet
    │   ├── BadScan              415, 422  a scan that cannot be used: do not send it again
    │   │   └── ScanTooLarge     413
    │   ├── KeyConflict          422  the idempotency key belongs to another scan
    │   ├── QueueFull            429  try again later
    │   ├── ServiceUnavailable   502, 503, 504  the service cannot work just now: try again later
    │   └── StoreFull            507  no room for scans and masks
    ├── JobFailed                the job ended with a problem
    ├── JobCanceled              the job was canceled
    ├── WaitTimeout              your wait is over; the job goes on (also a TimeoutError)
    ├── ServiceUnreachable       no answer came (also a ConnectionError)
    ├── UnexpectedAnswer         an answer came, but not one of a VoxelQ service
    └── PackageMissing           this call needs nibabel and numpy (also an ImportError)

What Python itself has an error for keeps it: a file that cannot be read is an ``OSError``, an
argument of the wrong type a ``TypeError``, and one of the wrong value a ``ValueError``.
"""

from collections.abc import Iterable

from voxelq.records import Problem

_TYPE_PREFIX = "urn:voxelq:problem:"


class VoxelQError(Exception):
    """The root of the tree; ``str`` of each is a sentence for a person."""


class RequestRefused(VoxelQError):
    """The service refused a call with an RFC 9457 problem.

    Attributes:
        status: The HTTP status.
        type: What kind of problem it is, such as ``urn:voxelq:problem:bad-scan``.
        title: The name of the kind of problem.
        detail: What is wrong this time, and what to do.
        retry_after_s: Seconds after which the service asks to be tried again, if it said so.
    """

    def __init__(self, problem: Problem, *, retry_after_s: float | None = None) -> None:
        super().__init__(str(problem))
        self.status = problem.status
        self.type = problem.type
        self.title = problem.title
        self.detail = problem.detail
        self.retry_after_s = retry_after_s


class BadRequest(RequestRefused):
    """A parameter has a value that the service does not take."""


class NotAllowed(RequestRefused):
    """The key is missing or unknown, or does not allow this call."""


class NotFound(RequestRefused):
    """There is no such job or model, or it is not yours."""


class NotFinished(RequestRefused):
    """The job has not come to the state that the call needs."""


class BadScan(RequestRefused):
    """The scan cannot be used as it is; sending it again will not help."""


class ScanTooLarge(BadScan):
    """The scan has more bytes or voxels than the service takes."""


class KeyConflict(RequestRefused):
    """The idempotency key was used for another scan."""


class QueueFull(RequestRefused):
    """The queue is full, or too many calls were made; it stayed so through all retries."""


class ServiceUnavailable(RequestRefused):
    """The service cannot work just now; it stayed so through all retries."""


class StoreFull(RequestRefused):
    """The service has no room for the scan."""


class JobFailed(VoxelQError):
    """A job ended with a problem.

    Attributes:
        job_id: The job.
        problem: Why it failed. ``problem.type`` is ``urn:voxelq:problem:bad-scan``
            for a fault of the scan.
    """

    def __init__(self, job_id: str, problem: Problem) -> None:
        super().__init__(f"Job {job_id} failed: {problem}")
        self.job_id = job_id
        self.problem = problem


class JobCanceled(VoxelQError):
    """A job was canceled, so that it has no result."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"Job {job_id} was canceled.")
        self.job_id = job_id


class WaitTimeout(VoxelQError, TimeoutError):
    """A wait is over before its jobs are; they go on, and can be waited for again.

    Attributes:
        job_ids: The jobs that had not ended, for `Client.job`.
    """

    def __init__(self, job_ids: Iterable[str]) -> None:
        self.job_ids = tuple(job_ids)
        what = f"Job {self.job_ids[0]}" if len(self.job_ids) == 1 else f"{len(self.job_ids)} jobs"
        super().__init__(f"{what} had not ended when the wait was over.")


class ServiceUnreachable(VoxelQError, ConnectionError):
    """No service answers at this address, or the connection broke, through all retries.

    Attributes:
        transient: Whether it may be otherwise a little later.
    """

    def __init__(self, words: str, *, transient: bool = True) -> None:
        super().__init__(words)
        self.transient = transient


class UnexpectedAnswer(VoxelQError):
    """What answers at this address is not a VoxelQ service, or is one of another generation."""


class PackageMissing(VoxelQError, ImportError):
    """A call that makes or reads images needs nibabel and numpy, and they are not installed."""

    def __init__(self) -> None:
        super().__init__(
            "Arrays and images need nibabel and numpy: pip install nibabel. "
            "Paths, bytes, mask_bytes() and save_mask() work without them."
        )


_BY_TYPE: dict[str, type[RequestRefused]] = {
    _TYPE_PREFIX + "idempotency-conflict": KeyConflict,
}
_BY_STATUS: dict[int, type[RequestRefused]] = {
    400: BadRequest,
    401: NotAllowed,
    403: NotAllowed,
    404: NotFound,
    409: NotFinished,
    413: ScanTooLarge,
    415: BadScan,
    422: BadScan,
    429: QueueFull,
    502: ServiceUnavailable,
    503: ServiceUnavailable,
    504: ServiceUnavailable,
    507: StoreFull,
}


def refusal(problem: Problem, retry_after_s: float | None = None) -> RequestRefused:
    """Return the error for ``problem``."""
    by_status = _BY_STATUS.get(problem.status, RequestRefused)
    kind = _BY_TYPE.get(problem.type, by_status)
    return kind(problem, retry_after_s=retry_after_s)
