"""Runs the whole service on this machine: in the foreground, or for the length of a demo."""

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

import httpx
import typer

from voxelq.cli import tables
from voxelq.cli.exits import FAILED, UsageError
from voxelq.cli.options import DEFAULT_PORT
from voxelq.local import locks, parent_death
from voxelq.local.supervisor import LocalStack, StackPlan, available_cores
from voxelq.local.valkey import free_port

#: The longest that a demo waits until its service is ready (seconds).
DEMO_START_S = 120.0


def run_stack(host: str, port: int, workers: int | None, data_dir: Path) -> None:
    """Run the stack until SIGINT or SIGTERM; without ``workers`` on half the cores.

    Raises:
        UsageError: It cannot run here.
    """
    count = workers or max(1, available_cores() // 2)
    try:
        settings = locks.settings()
        with locks.data_folder(data_dir.resolve()) as lock_fd:
            plan = StackPlan(host, locks.port(host, port), count, data_dir.resolve(), settings)
            asyncio.run(_run(plan, lock_fd))
    except locks.CannotStart as error:
        raise UsageError(str(error)) from error
    tables.say("stopped")


@contextmanager
def temporary_stack() -> Iterator[str]:
    """Run ``voxelq up`` on a free port and in a temporary folder, and yield its URL."""
    port = free_port()
    data_dir = Path(tempfile.mkdtemp(prefix="voxelq-demo-"))
    stack = subprocess.Popen(  # noqa: S603 - our own command, with nothing of a user's in it
        [sys.executable, "-IS", parent_death.__file__, str(os.getpid()),
         sys.executable, "-P", "-m", "voxelq",
         "up", "--port", str(port), "--data-dir", str(data_dir)],
        stdout=sys.stderr, start_new_session=True,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(stack, url, data_dir)
        yield url
    finally:
        stack.send_signal(signal.SIGTERM)
        stack.wait()
    shutil.rmtree(data_dir)


async def _run(plan: StackPlan, lock_fd: int) -> None:
    workers = f"{plan.workers} worker{'s' if plan.workers > 1 else ''}"
    url_option = "" if plan.port == DEFAULT_PORT else f" --url {plan.url}"

    def on_ready() -> None:
        tables.stdout().print(
            f"VoxelQ is ready at {plan.url}\n"
            f"  {workers}, data in {plan.data_dir}\n"
            f"  submit a scan: voxelq submit SCAN.nii.gz --wait{url_option}\n"
            "  stop: Ctrl-C",
            soft_wrap=True,
        )

    tables.say(f"starting the queue, the API and {workers}; logs in {plan.logs}")
    await LocalStack(plan, lock_fd=lock_fd, say=tables.say, on_ready=on_ready).run()


def _wait_until_ready(stack: subprocess.Popen[bytes], url: str, data_dir: Path) -> None:
    deadline = time.monotonic() + DEMO_START_S
    while stack.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/readyz", trust_env=False).status_code == httpx.codes.OK:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    tables.complain(f"The service did not start. Its logs are in {data_dir / 'logs'}.")
    raise typer.Exit(FAILED)
