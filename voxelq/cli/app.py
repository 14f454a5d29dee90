"""The command line, ``voxelq``.

Results go to standard output, progress and complaints to standard error. Exit codes: 0 done,
1 a job failed or a scan was refused, 2 usage (an unreadable file and an unknown id too), 3 the
service cannot be reached.
"""

import sys
import webbrowser
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from voxelq.cli import channels, doctor, models, plan, recover, service, tables
from voxelq.cli.answers import JobAnswer
from voxelq.cli.channels import BadChannels
from voxelq.cli.http_client import BadUrl, ClientError, ServiceUnreachable, VoxelQClient
from voxelq.cli.options import JsonOption, UrlOption
from voxelq.cli.submit import Scan, print_outcomes, submit_scans

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


IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The job's id.")]

app = typer.Typer(
    name="voxelq",
    help="VoxelQ, the queue for MRI inference. Not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    service.up,
    service.api,
    service.worker,
    service.demo,
    service.sample,
    plan.plan,
    recover.recover,
    doctor.doctor,
):
    app.command()(command)


@app.command()
def submit(
    scans: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="SCAN...",
            exists=True,
            readable=True,
            help=".nii or .nii.gz, or a folder with one file for each channel of the model.",
        ),
    ] = None,
    channel: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE", help="One channel of a single scan; give it for each channel."
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Block until every scan is done.")] = False,
    view: Annotated[
        bool, typer.Option("--view", help="Open the first job's page in the browser.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for masks, pictures and JSON; waits for them."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model, as `name` or `name@version`.")] = None,
    priority: Annotated[Priority | None, typer.Option(help="Default: routine.")] = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hand in scans, each as a job of its own.

    A model of several inputs takes a folder for each scan, or one scan by --channel.
    """
    if bool(scans) == bool(channel):
        raise typer.BadParameter("name scans, or the channels of one scan by --channel")
    with VoxelQClient(url) as client:
        named = _named_scans(client, scans or [], channel or [], model)
        outcomes = submit_scans(
            client,
            named,
            model=model,
            priority=priority,
            wait=wait,
            output=output,
            view=partial(_open_page, client) if view else None,
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


def _open_page(client: VoxelQClient, job: JobAnswer) -> None:
    page = f"{client.url}/?job={job.id}"
    if not webbrowser.open(page):
        tables.say(f"No browser was found here. The job's page is {page}")


def _named_scans(
    client: VoxelQClient, paths: list[Path], options: list[str], model: str | None
) -> list[Scan]:
    if options:
        found = channels.parse(options)
        return [Scan(next(iter(found.values())), found)]
    if not any(path.is_dir() for path in paths):
        return [Scan(path) for path in paths]
    inputs = _inputs(client, model)
    return [
        Scan(path, channels.in_folder(path, inputs)) if path.is_dir() else Scan(path)
        for path in paths
    ]


def _inputs(client: VoxelQClient, model: str | None) -> list[str]:
    if model is not None:
        return client.model(model).input_names
    for offered in client.models().models:
        if offered.default:
            return offered.input_names
    raise BadChannels("The service has no default model just now; name one with --model.")


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


app.add_typer(models.app, name="models")


def main() -> None:
    """Run the command line and end the process with its exit code."""
    try:
        app()
    except ServiceUnreachable as error:
        tables.complain(
            f"{error}\nStart one with `voxelq up`, or name another with --url or VOXELQ_URL."
        )
        sys.exit(UNREACHABLE)
    except BadChannels as error:
        tables.complain(str(error))
        sys.exit(USAGE)
    except ClientError as error:
        tables.complain(str(error))
        sys.exit(USAGE if isinstance(error, BadUrl) or error.status in _USAGE_STATUSES else FAILED)
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        tables.complain(f"{name}{error.strerror or error}")
        sys.exit(USAGE)
