"""The files that a worker writes for a job: its mask, its picture and its report."""

import numpy as np
import structlog
from numpy.typing import NDArray

from shared.errors import StoreUnavailable
from shared.results import Report
from shared.storage.job_records import JobRecords, report_key
from shared.storage.store import ScanStore
from shared.volumes.mask_writer import mask_bytes
from shared.volumes.nifti_header import VolumeHeader
from worker.pipeline.outcomes import LeasedJob
from worker.pipeline.preview import preview_png
from worker.volume.resample import Affine

log = structlog.get_logger()


class Artefacts:
    """Writes and deletes the files of jobs.

    They are named by execution, so a worker that lost its lease does not overwrite the files of the
    worker that computes the job again.
    """

    def __init__(self, store: ScanStore) -> None:
        self._store = store
        self._records = JobRecords(store)

    def write(
        self,
        job: LeasedJob,
        header: VolumeHeader,
        data: NDArray[np.generic],
        affine: Affine,
        mask: NDArray[np.uint8],
    ) -> dict[str, str]:
        """Write the mask and the picture of a scan; return their keys in the store."""
        keys = _keys(job)
        picture = preview_png(data, mask, affine)
        self._store.write(keys["mask"], mask_bytes(mask, header))
        self._store.write(keys["preview"], picture)
        return keys

    def write_report(self, job: LeasedJob, report: Report) -> None:
        """Write the report, from which a job is recovered if Redis loses it."""
        self._records.write_report(job.id, job.execution, report)

    def delete(self, job: LeasedJob) -> None:
        """Delete the files of an outcome that was dropped."""
        try:
            # The report first: without it no recovery takes the job for a finished one.
            for key in (report_key(job.id, job.execution), *_keys(job).values()):
                self._store.delete(key)
        except StoreUnavailable as error:
            log.warning("artefacts_not_deleted", job=job.id, error=type(error).__name__)


def _keys(job: LeasedJob) -> dict[str, str]:
    folder = ScanStore.folder(job.id)
    return {
        "mask": f"{folder}/{job.execution}.mask.nii.gz",
        "preview": f"{folder}/{job.execution}.preview.png",
    }
