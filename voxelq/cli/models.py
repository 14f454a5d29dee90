"""The commands on models: list what is on offer, and check a bundle before it is served."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from voxelq.cli import tables
from voxelq.cli.http_client import VoxelQClient
from voxelq.cli.options import JsonOption, UrlOption

app = typer.Typer(help="List the models on offer, or check a bundle.")


@app.callback(invoke_without_command=True)
def models(context: typer.Context, url: UrlOption = None, as_json: JsonOption = False) -> None:
    """List the models on offer, and those that are broken with the reason."""
    if context.invoked_subcommand is not None:
        return
    with VoxelQClient(url) as client:
        answer = client.models()
    if as_json:
        tables.print_json(answer.model_dump(mode="json"))
    else:
        tables.print_models(answer)


@app.command()
def check(
    bundle: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", exists=True, file_okay=False, help="The folder <name>/<version>."
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Say what is wrong with a bundle: load it on this machine and run it once. Needs no service.

    Exit code 1 if it cannot be served.
    """
    command = [sys.executable, "-m", "worker.models.check", str(bundle.resolve())]
    # safe path: a folder named worker where the user stands must not be taken for ours
    env = {**os.environ, "PYTHONSAFEPATH": "1"}
    done = subprocess.run([*command, *(["--json"] if as_json else [])], env=env, check=False)  # noqa: S603
    raise typer.Exit(done.returncode)
