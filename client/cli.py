"""The command line, ``voxelq``.

Results go to standard output, progress and complaints to standard error. Exit codes: 0 done,
1 a job failed or a scan was refused, 2 usage (an unreadable file and an unknown id too), 3 the
service cannot be reached.
"""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from client import service_commands, tables
from client.http_client import BadUrl, ClientError, ServiceUnreachable, VoxelQClient
from client.submitting import print_outcomes, submit_scans

FAILED, USAGE, UNREACHABLE = 1, 2, 3
_USAGE_STATUSES = {400, 404}


class Priority(StrEnum):
    """Who goes first, in this order."""

    STAT = "stat"
    ROUTINE = "routine"
    BULK = "bulk"


class Status(StrEnum):
    """Where a job may stand."""

    QUEUED = "queued"
    STARTED = "started"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELED = "canceled"


UrlOption = Annotated[
    str | None,
    typer.Option(envvar="VOXELQ_URL", help="The service. Default: http://127.0.0.1:8080"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The job's id.")]

app = typer.Typer(
    name="voxelq",
    help="VoxelQ, the queue for MRI inference. Not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    service_commands.up,
    service_commands.api,
    service_commands.worker,
    service_commands.demo,
    service_commands.sample,
):
    app.command()(command)


@app.command()
def submit(
    scans: Annotated[
        list[Path],
        typer.Argument(
            metavar="SCAN...", exists=True, dir_okay=False, readable=True, help=".nii or .nii.gz"
        ),
    ],
    wait: Annotated[bool, typer.Option("--wait", help="Block until every scan is done.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for masks, pictures and JSON; waits for them."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model, as `name` or `name@version`.")] = None,
    priority: Annotated[Priority | None, typer.Option(help="Default: routine.")] = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hand in scans, each as a job of its own."""
    with VoxelQClient(url) as client:
        outcomes = submit_scans(
            client, scans, model=model, priority=priority, wait=wait, output=output
        )
    print_outcomes(outcomes, as_json=as_json)
    refusals = [outcome.refusal for outcome in outcomes if outcome.refusal is not None]
    for refusal in refusals:
        if isinstance(refusal, ServiceUnreachable):
            raise refusal
    if any(refusal.status in _USAGE_STATUSES for refusal in refusals):
        raise typer.Exit(USAGE)
    if any(outcome.bad for outcome in outcomes):
        raise typer.Exit(FAILED)


@app.command()
def jobs(
    status: Annotated[Status | None, typer.Option(help="Only jobs in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, at most.")] = 20,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """List jobs, newest first."""
    with VoxelQClient(url) as client:
        page = client.jobs(status=status, limit=limit)
    if as_json:
        tables.print_json(page.model_dump(mode="json"))
    else:
        tables.print_jobs(page.jobs)


@app.command()
def show(job_id: IdArgument, url: UrlOption = None, as_json: JsonOption = False) -> None:
    """Show one job."""
    with VoxelQClient(url) as client:
        job = client.job(job_id)
    if as_json:
        tables.print_json(job.model_dump(mode="json"))
    else:
        tables.print_job(job)


@app.command()
def cancel(job_id: IdArgument, url: UrlOption = None) -> None:
    """Withdraw a job that is queued or running."""
    with VoxelQClient(url) as client:
        # the service purges a job that is over when it is told to delete it
        job = client.job(job_id)
        if job.terminal and job.status != "canceled":
            tables.complain(f"{job_id} is {job.status} already; it is left as it is.")
            raise typer.Exit(USAGE)
        if not job.terminal:
            client.cancel(job_id)
    tables.stdout().print(f"{job_id} is canceled")


@app.command()
def models(url: UrlOption = None, as_json: JsonOption = False) -> None:
    """List the models on offer."""
    with VoxelQClient(url) as client:
        offered = client.models()
    if as_json:
        tables.print_json({"models": [model.model_dump(mode="json") for model in offered]})
    else:
        tables.print_models(offered)


def main() -> None:
    """Run the command line and end the process with its exit code."""
    try:
        app()
    except ServiceUnreachable as error:
        tables.complain(
            f"{error}\nStart one with `voxelq up`, or name another with --url or VOXELQ_URL."
        )
        sys.exit(UNREACHABLE)
    except ClientError as error:
        tables.complain(str(error))
        sys.exit(USAGE if isinstance(error, BadUrl) or error.status in _USAGE_STATUSES else FAILED)
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        tables.complain(f"{name}{error.strerror or error}")
        sys.exit(USAGE)
