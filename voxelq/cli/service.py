"""The commands that run VoxelQ on this machine: up, api, worker, demo, sample."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import httpx
import typer

from shared.sample import SAMPLE_SCAN
from voxelq.cli import tables
from voxelq.cli.http_client import VoxelQClient
from voxelq.cli.submit import Scan, print_outcomes, submit_scans
from voxelq.local import locks, parent_death
from voxelq.local.supervisor import LocalStack, StackPlan, available_cores
from voxelq.local.valkey import free_port

DEFAULT_PORT = 8080
SAMPLE_WORDS = "a FLAIR volume with a synthetic lesion in real anatomy; nobody has this tumour"
#: What the demo bears with from start to service.
DEMO_START_S = 120.0

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

    A Valkey server comes with it unless REDIS_URL names one. What is queued survives a restart.
    """
    if workers and os.environ.get("VOXELQ_WORKERS") != str(workers):
        # `pkill -f worker` is to hit workers, and not the one that restarts them
        options = ["--host", host, "--port", str(port), "--data-dir", str(data_dir)]
        _become("voxelq", "up", *options, VOXELQ_WORKERS=str(workers))
    count = workers or max(1, available_cores() // 2)
    try:
        locks.packages()
        settings = locks.settings()
        with locks.data_folder(data_dir.resolve()) as lock_fd:
            plan = StackPlan(host, locks.port(host, port), count, data_dir.resolve(), settings)
            asyncio.run(_run_stack(plan, lock_fd))
    except locks.Taken as error:
        tables.complain(str(error))
        raise typer.Exit(2) from error
    tables.say("stopped")


def api(host: HostOption = "127.0.0.1", port: PortOption = DEFAULT_PORT) -> None:
    """Run the API alone, on the queue that REDIS_URL names."""
    _become("api", "--host", host, "--port", str(port))


def worker() -> None:
    """Run one worker alone, on the queue that REDIS_URL names."""
    _become("worker")


def sample(path: Annotated[Path, typer.Argument(help="File or folder to write it to.")]) -> None:
    """Write a sample scan: a synthetic lesion in real anatomy."""
    destination = path / SAMPLE_SCAN.name if path.is_dir() else path
    shutil.copyfile(SAMPLE_SCAN, destination)
    tables.stdout().print(str(destination), soft_wrap=True)
    tables.say(f"{destination.name}: {SAMPLE_WORDS}.")


def demo(
    output: Annotated[
        Path, typer.Option(file_okay=False, help="Folder for the mask and the picture.")
    ] = Path("demo"),
) -> None:
    """Start the service, send the sample scan through it, leave mask and picture, stop."""
    output.mkdir(parents=True, exist_ok=True)
    scan = output / SAMPLE_SCAN.name
    sample(scan)
    with _passing_stack() as url, VoxelQClient(url) as client:
        outcomes = submit_scans(client, [Scan(scan)], output=output)
    print_outcomes(outcomes, as_json=False)
    if any(outcome.bad for outcome in outcomes):
        raise typer.Exit(1)
    for path in sorted(output.glob("sample_flair[._]*")):
        tables.stdout().print(str(path), soft_wrap=True)
    tables.say("Not a medical device: a demonstration on a synthetic lesion.")


async def _run_stack(plan: StackPlan, lock_fd: int) -> None:
    def ready() -> None:
        workers = "1 worker" if plan.workers == 1 else f"{plan.workers} workers"
        tables.stdout().print(
            f"VoxelQ is ready at {plan.url}\n"
            f"  {workers}, data in {plan.data_dir}\n"
            f"  submit a scan: voxelq submit SCAN.nii.gz --wait{_url_option(plan)}\n"
            "  stop: Ctrl-C",
            soft_wrap=True,
        )

    workers = f"{plan.workers} worker{'s' if plan.workers > 1 else ''}"
    tables.say(f"starting the queue, the API and {workers}; logs in {plan.logs}")
    await LocalStack(plan, lock_fd=lock_fd, say=tables.say, on_ready=ready).run()


def _url_option(plan: StackPlan) -> str:
    return "" if plan.port == DEFAULT_PORT else f" --url {plan.url}"


@contextmanager
def _passing_stack() -> Iterator[str]:
    """Run ``voxelq up`` on a free port in a folder of its own, and yield its URL."""
    port = free_port()
    data_dir = Path(tempfile.mkdtemp(prefix="voxelq-demo-"))
    tether = Path(parent_death.__file__)
    stack = subprocess.Popen(  # noqa: S603 - our own command, with nothing of a user's in it
        [sys.executable, "-IS", str(tether), str(os.getpid()), sys.executable, "-P", "-m", "voxelq",
         "up", "--port", str(port), "--data-dir", str(data_dir)],
        stdout=sys.stderr, start_new_session=True,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        _await_ready(stack, url, data_dir)
        yield url
    finally:
        stack.send_signal(signal.SIGTERM)
        stack.wait()
    shutil.rmtree(data_dir)


def _await_ready(stack: subprocess.Popen[bytes], url: str, data_dir: Path) -> None:
    deadline = time.monotonic() + DEMO_START_S
    while stack.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/readyz", trust_env=False).status_code == httpx.codes.OK:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    tables.complain(f"The service did not start. Its logs are in {data_dir / 'logs'}.")
    raise typer.Exit(1)


def _become(module: str, *arguments: str, **variables: str) -> None:
    # safe path: a folder of the same name where the user stands must not be taken for ours
    env = {**os.environ, "PYTHONSAFEPATH": "1", **variables}
    os.execve(sys.executable, [sys.executable, "-m", module, *arguments], env)  # noqa: S606
