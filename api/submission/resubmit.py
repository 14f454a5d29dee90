"""The scan of an earlier job, submitted again: the client need not send its bytes."""

from api.job_id import is_job_id
from api.services import Services
from api.submission.model_inputs import SCAN_FIELD
from api.submission.pump import pump_blocks
from api.submission.scan_writer import ScanWriter
from shared.errors import BadRequest, JobNotFound, NotFinished


async def copy_stored_scan(services: Services, writer: ScanWriter, job_id: object) -> None:
    """Copy the scan of a terminal job; ``job_id`` is the JSON member ``scan_of``.

    It is a copy, so that either job can be purged without the other.

    Raises:
        BadRequest: ``job_id`` cannot be an id.
        JobNotFound: There is no such job, or it or its scan was purged.
        NotFinished: The job is not terminal.
    """
    if not isinstance(job_id, str) or not is_job_id(job_id):
        raise BadRequest("scan_of is the id of a job.")
    job = await services.queue.get(job_id)
    if not job.status.terminal:
        raise NotFinished(
            f"The job is {job.status}; its scan can be submitted again once it is over."
        )
    scans = job.submission.scans
    uploads = services.thread_pools.uploads
    for name, key in scans.items():
        # A single volume suits any model of one input, with any name of the input.
        field = name if len(scans) > 1 else SCAN_FIELD
        try:
            await pump_blocks(services.store.chunks(key), field, writer, uploads)
        except FileNotFoundError as error:
            await uploads.run(services.store_upkeep.check)
            raise JobNotFound(job_id) from error
