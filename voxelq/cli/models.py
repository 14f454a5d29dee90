"""The commands on models: `voxelq models` lists them, `voxelq models check` checks a bundle."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from voxelq.cli import tables
from voxelq.cli.connection import connect
from voxelq.cli.extras import WORKER, require
from voxelq.cli.options import JsonOption, UrlOption

app = typer.Typer(help="List the models that are served, or check a bundle.")


@app.callback(invoke_without_command=True)
def models(context: typer.Context, url: UrlOption = None, as_json: JsonOption = False) -> None:
    """List the models that are served, and those that are broken with the reason."""
    if context.invoked_subcommand is not None:
        return
    with connect(url) as client:
        listed = client.models()
    if as_json:
        tables.print_json(listed.document)
    else:
        tables.print_models(listed)


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
    require("models check", WORKER, "worker")
    command = [sys.executable, "-m", "worker.models.check", str(bundle.resolve())]
    # safe path: Python must not import a folder named worker in the current directory
    env = {**os.environ, "PYTHONSAFEPATH": "1"}
    done = subprocess.run([*command, *(["--json"] if as_json else [])], env=env, check=False)  # noqa: S603
    raise typer.Exit(done.returncode)
