"""Every error that VoxelQ raises on purpose.

::

    VoxelQError                          500
    ├── BadRequest                       400  the request itself is malformed
    ├── ScanPathForbidden                403  a path outside SCAN_ROOT, or no SCAN_ROOT
    ├── OriginForbidden                  403  a write that a page of another site sent
    ├── NotFound                         404
    │   ├── JobNotFound
    │   ├── ModelNotFound
    │   └── ModelBroken                   its bundle exists and cannot be served
    ├── UploadTimeout                    408  the body arrived too slowly, or stopped
    ├── NotFinished                      409  the job has no mask yet
    ├── ScanTooLarge                     413  too many bytes, or too many voxels
    ├── UnsupportedMedia                 415  neither NIfTI nor gzip
    ├── HostForbidden                    421  a Host that is not in ALLOWED_HOSTS or loopback
    ├── BadScan                          422  a volume that cannot be used
    │   └── ScanMissing                       its file is no longer in the store
    ├── IdempotencyConflict              422  the key was used for another scan
    ├── QueueFull                        429
    ├── ModelError                       500  a model bundle that cannot be served
    │   └── MissingRequirement                this worker's machine lacks what the model needs
    ├── JobLost                          500  its workers died too often
    ├── InferenceFailed                  500  the network raised on this scan alone
    ├── JobUnreadable                    500  its record in the queue cannot be read
    ├── ServiceUnavailable               503  Redis cannot be reached
    ├── ProcessFailing                   503  a task that this process needs has failed
    ├── TooManyUploads                   503  MAX_UPLOADS uploads are running
    ├── StoreUnavailable                 503  the store does not answer
    │   └── WrongStore                        it does not belong to this queue
    ├── ModelNotReady                    503  its files are being copied, or memory is short
    ├── JobTimedOut                      504  alone in its worker, it ran over JOB_TIMEOUT_S
    └── StoreFull                        507

An error's detail is a sentence for the person who can act on it. It never contains anything of a
scan: no file name, no header text, no intensities. Over HTTP and in a failed job, an error is an
RFC 9457 problem.
"""

from typing import Any, ClassVar

PROBLEM_TYPE_PREFIX = "urn:voxelq:problem:"


class VoxelQError(Exception):
    """Root of the tree; ``slug``, ``title`` and ``status`` make the RFC 9457 problem."""

    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong in VoxelQ"
    status: ClassVar[int] = 500

    def __init__(self, detail: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s

    def problem(self, instance: str | None = None) -> dict[str, Any]:
        """Return the error as an RFC 9457 problem object."""
        members: dict[str, Any] = {
            "type": PROBLEM_TYPE_PREFIX + self.slug,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if instance is not None:
            members["instance"] = instance
        return members


class BadRequest(VoxelQError):
    """The request is malformed: a parameter, a header or the body's framing."""

    slug, title, status = "bad-request", "The request is malformed", 400


class ScanPathForbidden(VoxelQError):
    """A ``scan_path`` that may not be read."""

    slug, title, status = "scan-path-forbidden", "This scan path is not allowed", 403


class OriginForbidden(VoxelQError):
    """A write that a browser sent for a page of another site."""

    slug, title, status = "origin-forbidden", "This origin may not write here", 403


class UploadTimeout(VoxelQError):
    """A body that arrived more slowly than ``MIN_UPLOAD_BYTES_PER_S``, or stopped."""

    slug, title, status = "upload-timeout", "The upload was too slow", 408


class HostForbidden(VoxelQError):
    """A ``Host`` that is neither loopback's nor one of ``ALLOWED_HOSTS``."""

    slug, title, status = "host-forbidden", "This service does not answer to this host name", 421


class NotFound(VoxelQError):
    """Nothing exists at this address."""

    slug, title, status = "not-found", "There is nothing here", 404


class JobNotFound(NotFound):
    """No job has this id, or it was purged."""

    slug, title = "job-not-found", "No such job"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {job_id}: it never was, or it has been purged.")
        self.job_id = job_id


class ModelNotFound(NotFound):
    """No bundle of this name and version is served."""

    slug, title = "model-not-found", "No such model"


class ModelBroken(NotFound):
    """The bundle of this name and version exists, and something is wrong with it."""

    slug, title = "model-broken", "This model is broken"


class NotFinished(VoxelQError):
    """The job has not reached the status that the call needs."""

    slug, title, status = "not-finished", "The job is not finished", 409


class ScanTooLarge(VoxelQError):
    """More bytes or voxels than this service takes."""

    slug, title, status = "scan-too-large", "The scan is too large", 413


class UnsupportedMedia(VoxelQError):
    """The body is neither a NIfTI volume nor a gzip of one."""

    slug, title, status = "unsupported-media", "This is not a NIfTI volume", 415


class BadScan(VoxelQError):
    """A NIfTI file whose volume cannot be used."""

    slug, title, status = "bad-scan", "The volume cannot be used", 422


class ScanMissing(BadScan):
    """A scan whose file is no longer in the store, although its job is in the queue."""


class IdempotencyConflict(VoxelQError):
    """An Idempotency-Key that was used for another scan."""

    slug, title, status = "idempotency-conflict", "This key was used for another scan", 422


class QueueFull(VoxelQError):
    """``MAX_QUEUED`` jobs are waiting."""

    slug, title, status = "queue-full", "The queue is full", 429


class ModelError(VoxelQError):
    """A model bundle that cannot be read or run."""

    slug, title = "model-error", "The model cannot be served"


class MissingRequirement(ModelError):
    """A model that needs packages that this worker lacks; another worker may have them."""

    slug = "missing-requirement"


class JobLost(VoxelQError):
    """A job whose workers died ``MAX_ATTEMPTS`` times while they computed it."""

    slug, title = "job-lost", "The job was lost too often"


class InferenceFailed(VoxelQError):
    """The network raised an error on this scan, run alone."""

    slug, title = "inference-failed", "The network failed on this scan"


class ServiceUnavailable(VoxelQError):
    """Redis does not answer."""

    slug, title, status = "service-unavailable", "The queue cannot be reached", 503


class JobUnreadable(VoxelQError):
    """A job whose record in the queue this version cannot read."""

    slug, title = "job-unreadable", "The job's record cannot be read"


class ProcessFailing(VoxelQError):
    """This process has lost a task that it needs, and will exit so that a new one replaces it."""

    slug, title, status = "process-failing", "This process is about to be replaced", 503


class TooManyUploads(VoxelQError):
    """``MAX_UPLOADS`` uploads are running in this process."""

    slug, title, status = "too-many-uploads", "Too many uploads at once", 503


class StoreUnavailable(VoxelQError):
    """The store cannot be read or written at the moment."""

    slug, title, status = "store-unavailable", "The store cannot be reached", 503


class WrongStore(StoreUnavailable):
    """The store can be read, but does not belong to this queue."""

    slug, title = "wrong-store", "This is another store"


class ModelNotReady(VoxelQError):
    """A model that cannot be loaded at the moment, and perhaps can be a little later."""

    slug, title, status = "model-not-ready", "The model is not ready", 503


class JobTimedOut(VoxelQError):
    """A job that ran alone for longer than ``JOB_TIMEOUT_S``."""

    slug, title, status = "job-timed-out", "The job ran for too long", 504


class StoreFull(VoxelQError):
    """No room is left for scans and masks."""

    slug, title, status = "store-full", "The store is full", 507
