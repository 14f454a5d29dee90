"""The commands that show what the service does: `voxelq demo` and `voxelq sample`."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from shared.sample import SAMPLE_SCAN
from voxelq.cli import tables
from voxelq.cli.exits import FAILED
from voxelq.cli.extras import ALL, require
from voxelq.cli.scan_files import ScanFiles
from voxelq.cli.submission import print_outcomes, submit_scans

SAMPLE_DESCRIPTION = "a FLAIR volume with a synthetic lesion in real anatomy; no patient has it"


def sample(path: Annotated[Path, typer.Argument(help="File or folder to write it to.")]) -> None:
    """Write a sample scan: a synthetic lesion in real anatomy."""
    destination = path / SAMPLE_SCAN.name if path.is_dir() else path
    shutil.copyfile(SAMPLE_SCAN, destination)
    tables.stdout().print(str(destination), soft_wrap=True)
    tables.say(f"{destination.name}: {SAMPLE_DESCRIPTION}.")


def demo(
    output: Annotated[
        Path, typer.Option(file_okay=False, help="Folder for the mask and the picture.")
    ] = Path("demo"),
) -> None:
    """Start the service, send the sample scan through it, leave mask and picture, stop."""
    require("demo", ALL)

    from voxelq.cli.stack import temporary_stack  # needs more than a base install

    output.mkdir(parents=True, exist_ok=True)
    scan = output / SAMPLE_SCAN.name
    sample(scan)
    with temporary_stack() as url:
        outcomes = submit_scans(url, [ScanFiles(scan)], output=output)
    print_outcomes(outcomes, as_json=False)
    if any(outcome.bad for outcome in outcomes):
        raise typer.Exit(FAILED)
    for path in sorted(output.glob("sample_flair[._]*")):
        tables.stdout().print(str(path), soft_wrap=True)
    tables.say("Not a medical device: a demonstration on a synthetic lesion.")
