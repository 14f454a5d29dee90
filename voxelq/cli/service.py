"""The commands that run the service on this machine: `voxelq up`, `voxelq api`, `voxelq worker`."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from voxelq.cli.extras import ALL, API, WORKER, require
from voxelq.cli.options import DEFAULT_PORT

HostOption = Annotated[str, typer.Option(help="Address to listen on.")]
PortOption = Annotated[int, typer.Option(min=0, max=65535, help="Port; `up` takes 0 for any free.")]


def up(
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, envvar="VOXELQ_WORKERS", help="Worker processes; default: half the cores."
        ),
    ] = None,
    port: PortOption = DEFAULT_PORT,
    host: HostOption = "127.0.0.1",
    data_dir: Annotated[
        Path, typer.Option(file_okay=False, help="Folder for queue, scans, masks and logs.")
    ] = Path("voxelq-data"),
) -> None:
    """Run all of VoxelQ on this machine: a queue server, the API and workers.

    A Valkey server comes with it unless REDIS_URL names one. The queue survives a restart.
    """
    require("up", ALL)
    if workers and os.environ.get("VOXELQ_WORKERS") != str(workers):
        # without --workers on the command line, `pkill -f worker` hits the workers and not this
        # process, which restarts them
        options = ["--host", host, "--port", str(port), "--data-dir", str(data_dir)]
        _replace_process("voxelq", "up", *options, VOXELQ_WORKERS=str(workers))

    from voxelq.cli.stack import run_stack  # needs more than a base install

    run_stack(host, port, workers, data_dir)


def api(host: HostOption = "127.0.0.1", port: PortOption = DEFAULT_PORT) -> None:
    """Run the API alone, on the queue that REDIS_URL names."""
    require("api", API, "api")
    _replace_process("api", "--host", host, "--port", str(port))


def worker() -> None:
    """Run one worker alone, on the queue that REDIS_URL names."""
    require("worker", WORKER, "worker")
    _replace_process("worker")


def _replace_process(module: str, *arguments: str, **variables: str) -> None:
    # safe path: Python must not import a folder of that name in the current directory
    env = {**os.environ, "PYTHONSAFEPATH": "1", **variables}
    os.execve(sys.executable, [sys.executable, "-m", module, *arguments], env)  # noqa: S606
