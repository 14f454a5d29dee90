"""A scan that lies in the store already, handed in again: its pixels do not pass the client."""

from collections.abc import Iterator

from api.services import Services, is_job_id
from api.submission.scan_writer import SCAN_FIELD, ScanWriter
from api.thread_pools import ThreadPool
from shared.errors import BadRequest, JobNotFound, NotFinished


async def copy_stored_scan(services: Services, writer: ScanWriter, job_id: object) -> None:
    """Hand the scan of a job that is over to ``writer``; the new job gets files of its own.

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
    for name, key in scans.items():
        # A single volume suits any model of one input, whatever it calls it.
        field = name if len(scans) > 1 else SCAN_FIELD
        try:
            await take_blocks(services.threads.uploads, writer, field, services.store.chunks(key))
        except FileNotFoundError as error:
            await services.threads.uploads.run(services.store_upkeep.check)
            raise JobNotFound(job_id) from error


async def take_blocks(
    threads: ThreadPool, writer: ScanWriter, field: str, blocks: Iterator[bytes]
) -> None:
    """Hand ``blocks`` to ``writer`` as the channel ``field``, each in a call of its own."""
    channel = writer.begin(field)

    def take_next() -> bool:
        block = next(blocks, None)
        if block is None:
            channel.end()
        else:
            channel.write(block)
        return block is not None

    while await threads.run(writer.step, take_next):
        pass
