"""A job and its prediction, for the asynchronous client."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from anyio import to_thread

from voxelq.handles import JobHandle, PredictionFacts, result_of
from voxelq.images import decode_mask
from voxelq.protocol.steps import OnProgress
from voxelq.records import JobState
from voxelq.whole_file import write_mask, write_whole

if TYPE_CHECKING:
    from nibabel import Nifti1Image

    from voxelq.async_client import AsyncClient


@dataclass(frozen=True)
class AsyncPrediction(PredictionFacts):
    """What the network found in one scan, with methods to fetch its mask and picture.

    The calls are those of `voxelq.Prediction`, awaited.

    Attributes:
        job: The job that it came from.
    """

    job: "AsyncJob" = field(repr=False, compare=False)

    async def mask(self) -> "Nifti1Image":
        """Fetch the mask as a nibabel image; as `voxelq.Prediction.mask`."""
        return await to_thread.run_sync(decode_mask, await self.mask_bytes())

    async def mask_bytes(self) -> bytes:
        """Fetch the mask as a gzipped NIfTI file; as `voxelq.Prediction.mask_bytes`."""
        return await self.job.client._run(self.job.client._flows.file(self.job.id, "mask"))

    async def save_mask(self, path: str | Path) -> Path:
        """Write the mask to ``path`` and return it; as `voxelq.Prediction.save_mask`."""
        return await to_thread.run_sync(write_mask, await self.mask_bytes(), Path(path))

    async def preview(self) -> bytes:
        """Fetch a PNG of the slice with the largest lesion; as `voxelq.Prediction.preview`."""
        return await self.job.client._run(self.job.client._flows.file(self.job.id, "preview.png"))

    async def save_preview(self, path: str | Path) -> Path:
        """Write the picture to ``path`` and return it; as `voxelq.Prediction.save_preview`."""
        return await to_thread.run_sync(write_whole, await self.preview(), Path(path))


class AsyncJob(JobHandle):
    """A job of the service; the calls are those of `voxelq.Job`, awaited.

    Example:
        >>> job = await client.submit("scan.nii.gz")
        >>> (await job.wait(timeout_s=600)).volume_ml
        31.4
    """

    def __init__(self, client: "AsyncClient", state: JobState) -> None:
        super().__init__(state)
        self.client = client

    async def refresh(self) -> Self:
        """Fetch the job's state, and return the job; as `voxelq.Job.refresh`."""
        await self.client._run(self.client._flows.refresh(self))
        return self

    async def wait(
        self, timeout_s: float | None = None, on_progress: OnProgress | None = None
    ) -> AsyncPrediction:
        """Wait until the job has ended, and return what was found; as `voxelq.Job.wait`.

        ``on_progress`` may be a coroutine function too.
        """
        await self.client._run(self.client._flows.wait(self, timeout_s, on_progress))
        return AsyncPrediction(*result_of(self.state), job=self)

    async def cancel(self) -> None:
        """Cancel the job unless it has ended; as `voxelq.Job.cancel`."""
        await self.client._run(self.client._flows.cancel(self))

    async def delete(self) -> None:
        """Remove the job with its scan, mask and result; as `voxelq.Job.delete`."""
        await self.client._run(self.client._flows.delete(self))
