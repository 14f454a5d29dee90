"""The command `voxelq submit`."""

import webbrowser
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from voxelq.cli import channels, tables
from voxelq.cli.connection import connect
from voxelq.cli.exits import FAILED, USAGE, UsageError
from voxelq.cli.options import JsonOption, UrlOption
from voxelq.cli.scan_files import ScanFiles
from voxelq.cli.submission import print_outcomes, submit_scans
from voxelq.client import Client
from voxelq.errors import BadRequest, NotFound, ServiceUnavailable, ServiceUnreachable
from voxelq.records import JobState, Model, Priority


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
    """Submit scans, each as a job of its own.

    A model of several inputs takes a folder for each scan, or one scan by --channel.
    """
    if bool(scans) == bool(channel):
        raise typer.BadParameter("name scans, or the channels of one scan by --channel")
    with connect(url) as client:
        named = _named_scans(client, scans or [], channel or [], model)
        open_page = partial(_open_page, client.url)
    outcomes = submit_scans(
        url,
        named,
        model=model,
        priority=priority,
        wait=wait,
        output=output,
        on_first_job=open_page if view else None,
    )
    print_outcomes(outcomes, as_json=as_json)
    refusals = [outcome.refusal for outcome in outcomes if outcome.refusal is not None]
    for refusal in refusals:
        if isinstance(refusal, ServiceUnreachable | ServiceUnavailable):
            raise refusal
    if any(isinstance(refusal, BadRequest | NotFound) for refusal in refusals):
        raise typer.Exit(USAGE)
    if any(outcome.bad for outcome in outcomes):
        raise typer.Exit(FAILED)


def _open_page(service: str, job: JobState) -> None:
    page = f"{service}/?job={job.id}"
    if not webbrowser.open(page):
        tables.say(f"No browser was found here. The job's page is {page}")


def _named_scans(
    client: Client, paths: list[Path], options: list[str], model: str | None
) -> list[ScanFiles]:
    if options:
        files = channels.parse(options)
        return [ScanFiles(next(iter(files.values())), files)]
    if not any(path.is_dir() for path in paths):
        return [ScanFiles(path) for path in paths]
    inputs = [channel.name for channel in _model(client, model).inputs]
    return [
        ScanFiles(path, channels.in_folder(path, inputs)) if path.is_dir() else ScanFiles(path)
        for path in paths
    ]


def _model(client: Client, name: str | None) -> Model:
    if name is not None:
        return client.model(name)
    default = client.models().default
    if default is None:
        raise UsageError("The service has no default model just now; name one with --model.")
    return default
