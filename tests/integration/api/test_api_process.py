"""``python -m api`` as a process: how it stops, and how little memory an upload takes."""

import asyncio
import itertools
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import psutil
import pytest

from shared.settings import Settings
from tests.support.api_server import RAW, SCAN, api_process, assert_problem
from tests.support.scans import gz, nifti


async def test_a_stop_answers_blocked_clients(settings: Settings) -> None:
    """On SIGTERM the process answers its blocked clients with their jobs and exits 0."""
    async with api_process(settings) as (process, client):
        predicting = asyncio.create_task(client.post("/predict", content=SCAN, headers=RAW))
        async with asyncio.timeout(30):
            while "blocked_clients 1.0" not in (await client.get("/metrics")).text:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        response = await predicting
        assert (response.status_code, response.json()["status"]) == (202, "queued")
        _, errors = await asyncio.to_thread(process.communicate)
    assert process.returncode == 0
    assert b"Traceback" not in errors


def test_startup_objects_do_not_delay_collections() -> None:
    """When the service starts, the objects of the imports are not part of collections."""
    code = (
        "import gc, sys, api.__main__ as entry;"
        "entry.Server.run = lambda _: print(gc.get_freeze_count(), len(gc.get_objects()));"
        "sys.argv = ['api'];"
        "entry.main()"
    )
    completed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    passed_over, walked = map(int, completed.stdout.split())
    assert walked < passed_over / 10


@pytest.mark.skipif(sys.platform != "linux", reason="another process's limits are Linux's to tell")
async def test_the_limit_of_open_files_is_raised(settings: Settings) -> None:
    """A process started with a low limit of open files raises it to the maximum."""
    few, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(few, 512), most))
    try:
        async with api_process(settings) as (process, client):
            assert (await client.get("/livez")).status_code == 200
            assert psutil.Process(process.pid).rlimit(psutil.RLIMIT_NOFILE) == (most, most)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, most))


def peak_bytes(process_id: int) -> int:
    """Return the most memory that the process ever had in use."""
    status = Path(f"/proc/{process_id}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


async def pieces(blocks: Iterable[bytes]) -> AsyncIterator[bytes]:
    """Send ``blocks`` as a body without a length."""
    for block in blocks:
        yield block


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
async def test_uploads_take_little_memory(settings: Settings) -> None:
    """Neither a large scan nor a gzip bomb is ever held in memory."""
    edge, noise, zeros = 400, os.urandom(1 << 20), gz(bytes(64 << 20), level=9)
    large = nifti(dim=[3, edge, edge, edge, 1, 1, 1, 1], body=b"")
    blocks = [noise] * (edge**3 * 2 >> 20) + [bytes((edge**3 * 2) % (1 << 20))]
    promised = gz(nifti(dim=[3, 256, 256, 256, 1, 1, 1, 1], datatype=64, body=b""))
    endless = gz(nifti(version=2, dim=[3, 60_000, 60_000, 60_000, 1, 1, 1, 1], body=b""))
    async with api_process(settings) as (process, client):
        assert (await client.post("/jobs", content=SCAN, headers=RAW)).status_code == 202
        before = peak_bytes(process.pid)
        body = pieces(itertools.chain([large], blocks))
        assert (await client.post("/jobs", content=body, headers=RAW)).status_code == 202
        for head, status in ((gz(nifti()), 422), (promised, 422), (endless, 413)):
            ten_gigabytes = head + zeros * 160
            response = await client.post("/jobs", content=ten_gigabytes, headers=RAW)
            assert_problem(response, status)
            assert_problem(await client.post("/jobs", files={"scan": ten_gigabytes}), status)
        assert peak_bytes(process.pid) - before < 64 << 20
