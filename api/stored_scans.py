"""A scan that lies in the store already, handed in again: its pixels do not pass the client."""

from starlette.concurrency import run_in_threadpool

from api.dependencies import FrontDesk, is_job_id
from api.intake import SCAN_FIELD, ChannelIntake, ScanIntake
from shared.errors import BadRequest, JobNotFound, NotFinished
from shared.store import ScanStore


async def copy_stored_scan(desk: FrontDesk, intake: ScanIntake, job_id: object) -> None:
    """Hand the scan of a job that is over to ``intake``; the new job gets files of its own.

    Raises:
        BadRequest: ``job_id`` cannot be an id.
        JobNotFound: There is no such job, or it or its scan was purged.
        NotFinished: The job is not terminal.
    """
    if not isinstance(job_id, str) or not is_job_id(job_id):
        raise BadRequest("scan_of is the id of a job.")
    job = await desk.queue.get(job_id)
    if not job.status.terminal:
        raise NotFinished(
            f"The job is {job.status}; its scan can be handed in again once it is over."
        )
    scans = job.submission.scans
    for name, key in scans.items():
        # A single volume suits any model of one input, whatever it calls it.
        channel = intake.begin(name if len(scans) > 1 else SCAN_FIELD)
        try:
            await run_in_threadpool(_copy, desk.store, key, channel)
        except FileNotFoundError as error:
            raise JobNotFound(job_id) from error


def _copy(store: ScanStore, key: str, channel: ChannelIntake) -> None:
    for block in store.chunks(key):
        channel.write(block)
    channel.end()
