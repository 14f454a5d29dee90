"""The commands on jobs that were submitted: `voxelq jobs`, `voxelq show` and `voxelq cancel`."""

from typing import Annotated

import typer

from voxelq.cli import tables
from voxelq.cli.connection import connect
from voxelq.cli.exits import USAGE
from voxelq.cli.options import JsonOption, UrlOption
from voxelq.records import JobStatus

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The job's id.")]


def jobs(
    status: Annotated[JobStatus | None, typer.Option(help="Only jobs in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, at most.")] = 20,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """List jobs, newest first."""
    with connect(url) as client:
        page = client.job_page(status, limit)
    if as_json:
        tables.print_json(page.document)
    else:
        tables.print_jobs(page.jobs)


def show(job_id: IdArgument, url: UrlOption = None, as_json: JsonOption = False) -> None:
    """Show one job."""
    with connect(url) as client:
        job = client.job(job_id).state
    if as_json:
        tables.print_json(job.document)
    else:
        tables.print_job(job)


def cancel(job_id: IdArgument, url: UrlOption = None) -> None:
    """Cancel a job that is queued or running."""
    with connect(url) as client:
        job = client.cancel(job_id)
    if job.status != JobStatus.CANCELED:
        tables.complain(f"{job_id} is {job.status} already; it is left as it is.")
        raise typer.Exit(USAGE)
    tables.stdout().print(f"{job_id} is canceled")
