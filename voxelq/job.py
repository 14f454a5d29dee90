"""A job and its prediction, for the blocking client."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from voxelq.handles import JobHandle, PredictionFacts, result_of
from voxelq.images import decode_mask
from voxelq.protocol.steps import OnProgress
from voxelq.records import JobState
from voxelq.whole_file import write_mask, write_whole

if TYPE_CHECKING:
    from nibabel import Nifti1Image

    from voxelq.client import Client


@dataclass(frozen=True)
class Prediction(PredictionFacts):
    """What the network found in one scan, with methods to fetch its mask and picture.

    Example:
        >>> prediction = client.predict("scan.nii.gz")
        >>> prediction.present, prediction.volume_ml
        (True, 31.4)

    Attributes:
        job: The job that it came from.
    """

    job: "Job" = field(repr=False, compare=False)

    def mask(self) -> "Nifti1Image":
        """Fetch the mask as a nibabel image: whole numbers of the scan's own shape and affine.

        Raises:
            PackageMissing: nibabel is not installed.
            NotFound: The job was purged.
        """
        return decode_mask(self.mask_bytes())

    def mask_bytes(self) -> bytes:
        """Fetch the mask as a gzipped NIfTI file; raises NotFound if the job was purged."""
        return self.job.client._run(self.job.client._flows.file(self.job.id, "mask"))

    def save_mask(self, path: str | Path) -> Path:
        """Write the mask to ``path``: gzipped, unless that ends with ``.nii``; return the path.

        The file appears whole or not at all.

        Raises:
            OSError: It cannot be written.
            NotFound: The job was purged.
        """
        return write_mask(self.mask_bytes(), Path(path))

    def preview(self) -> bytes:
        """Fetch a PNG of the slice with the largest lesion, the mask laid over it.

        Raises:
            NotFound: The job was purged.
        """
        return self.job.client._run(self.job.client._flows.file(self.job.id, "preview.png"))

    def save_preview(self, path: str | Path) -> Path:
        """Write the picture to ``path`` and return the path; whole or not at all.

        Raises:
            OSError: It cannot be written.
            NotFound: The job was purged.
        """
        return write_whole(self.preview(), Path(path))


class Job(JobHandle):
    """A job of the service. Its properties are its last known state; `refresh` updates them.

    Example:
        >>> job = client.submit("scan.nii.gz", priority="bulk")
        >>> job.status, job.position
        ('queued', 12)
        >>> job.wait(timeout_s=600).volume_ml
        31.4
    """

    def __init__(self, client: "Client", state: JobState) -> None:
        super().__init__(state)
        self.client = client

    def refresh(self) -> Self:
        """Fetch the job's state, and return the job.

        Raises:
            NotFound: It was purged.
        """
        self.client._run(self.client._flows.refresh(self))
        return self

    def wait(
        self, timeout_s: float | None = None, on_progress: OnProgress | None = None
    ) -> Prediction:
        """Block until the job has ended, and return what was found.

        If the job has ended already it returns at once, without a call.

        Args:
            timeout_s: How long to wait at most; None waits without end.
            on_progress: Called with a `JobState` at first and on every change of status,
                position, stage and progress, which are polled twice a second.

        Raises:
            JobFailed: The job failed.
            JobCanceled: The job was canceled.
            WaitTimeout: The time is over; the job goes on.
            NotFound: The job was purged.
        """
        self.client._run(self.client._flows.wait(self, timeout_s, on_progress))
        return Prediction(*result_of(self.state), job=self)

    def cancel(self) -> None:
        """Cancel the job. One that has ended already is left as it is; see `status`.

        Raises:
            NotFound: It was purged.
        """
        self.client._run(self.client._flows.cancel(self))

    def delete(self) -> None:
        """Remove the job with its scan, mask and result; one that has not ended is canceled."""
        self.client._run(self.client._flows.delete(self))
