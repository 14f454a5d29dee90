"""VoxelQ from Python: submit MRI scans to a service, wait, and read what was found.

The modules here speak HTTP and import nothing of the service; only httpx must be installed, and
nibabel for arrays, images and ``Prediction.mask()``. The commands are in ``cli``, what runs on this
machine in ``local``.

Example:
    >>> from voxelq import Client
    >>> with Client() as client:
    ...     prediction = client.predict("scan.nii.gz")
    ...     print(prediction.present, prediction.volume_ml)
"""

from voxelq.async_client import AsyncClient
from voxelq.async_job import AsyncJob, AsyncPrediction
from voxelq.client import Client, as_completed
from voxelq.errors import (
    BadRequest,
    BadScan,
    JobCanceled,
    JobFailed,
    KeyConflict,
    NotAllowed,
    NotFinished,
    NotFound,
    PackageMissing,
    QueueFull,
    RequestRefused,
    ScanTooLarge,
    ServiceUnavailable,
    ServiceUnreachable,
    StoreFull,
    UnexpectedAnswer,
    VoxelQError,
    WaitTimeout,
)
from voxelq.job import Job, Prediction
from voxelq.records import (
    JobPage,
    JobState,
    JobStatus,
    Label,
    Model,
    Models,
    Priority,
    Problem,
    Queue,
    Result,
    ScanWarning,
)
from voxelq.scans import Scan

__all__ = [
    "AsyncClient",
    "AsyncJob",
    "AsyncPrediction",
    "BadRequest",
    "BadScan",
    "Client",
    "Job",
    "JobCanceled",
    "JobFailed",
    "JobPage",
    "JobState",
    "JobStatus",
    "KeyConflict",
    "Label",
    "Model",
    "Models",
    "NotAllowed",
    "NotFinished",
    "NotFound",
    "PackageMissing",
    "Prediction",
    "Priority",
    "Problem",
    "Queue",
    "QueueFull",
    "RequestRefused",
    "Result",
    "Scan",
    "ScanTooLarge",
    "ScanWarning",
    "ServiceUnavailable",
    "ServiceUnreachable",
    "StoreFull",
    "UnexpectedAnswer",
    "VoxelQError",
    "WaitTimeout",
    "as_completed",
]
