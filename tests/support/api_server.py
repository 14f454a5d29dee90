"""An HTTP service on a real port, in a thread or as a process, and requests for it."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from api.__main__ import Server
from shared.settings import Settings
from shared.storage.identity import FILE_NAME
from shared.storage.store import RECORD_NAME
from tests.support.scans import gz, nifti
from tests.support.scripted_worker import ScriptedWorker
from voxelq.local.valkey import free_port

RAW = {"Content-Type": "application/octet-stream"}
SCAN = gz(nifti())


async def submit(client: httpx.AsyncClient, priority: str = "routine") -> str:
    """Submit a scan and return its job's id."""
    response = await client.post(f"/jobs?priority={priority}", content=SCAN, headers=RAW)
    assert response.status_code == 202
    return str(response.json()["id"])


async def finished(client: httpx.AsyncClient, worker: ScriptedWorker) -> str:
    """Submit a scan, finish its job, and return the job's id."""
    job_id = await submit(client)
    worker.settle(worker.start())
    return job_id


def assert_problem(response: httpx.Response, status: int, words: str = "") -> None:
    """Check that ``response`` is an RFC 9457 problem of this status."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert problem["type"].startswith("urn:voxelq:problem:")
    assert problem["title"]
    assert problem["instance"] == response.url.path
    assert words in problem["detail"]


class ApiServer:
    """The server of ``python -m api``, in a thread of the test."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.server = Server(settings, "127.0.0.1", self.port)
        self._thread = threading.Thread(target=self.server.run)

    def start(self) -> None:
        """Start, and return once it listens."""
        self._thread.start()
        while not self.server.started:
            if not self._thread.is_alive():
                raise RuntimeError("the server did not start")
            time.sleep(0.005)

    def stop(self) -> None:
        """Stop as on SIGTERM."""
        self.server.should_exit = True
        self._thread.join()

    @property
    def runs(self) -> bool:
        """Whether its thread has not ended yet."""
        return self._thread.is_alive()

    @property
    def blocked(self) -> int:
        """How many clients wait for a job."""
        return int(self.server.config.app.state.services.waiters.count)  # type: ignore[union-attr]

    @property
    def following(self) -> int:
        """How many clients follow a job."""
        return int(self.server.config.app.state.services.followers.count)  # type: ignore[union-attr]

    async def until_blocked(self, clients: int) -> None:
        """Return once exactly so many clients wait."""
        await self.until(lambda: self.blocked == clients)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return once ``holds`` returns true."""
        async with asyncio.timeout(60):
            while not holds():  # noqa: ASYNC110 - the server runs in another thread
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def crowd(self, paths: Sequence[str]) -> AsyncIterator[list[asyncio.StreamReader]]:
        """GET every path on a connection of its own; the answers end with the connections."""
        streams = await asyncio.gather(
            *(asyncio.open_connection("127.0.0.1", self.port) for _ in paths)
        )
        for path, (_, writer) in zip(paths, streams, strict=True):
            head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            writer.write(head.encode())
        yield [reader for reader, _ in streams]
        for _, writer in streams:
            writer.close()

    def stored_files(self) -> list[Path]:
        """Every file of a scan in the store, which may change while it is listed."""
        # rglob fails if a folder is deleted while it is listed
        walk = os.walk(self.settings.store_url.removeprefix("file://"))
        files = [Path(folder, name) for folder, _, names in walk for name in names]
        # the store's own file is written under a longer name first
        return [path for path in files if not path.name.startswith(FILE_NAME)]

    def lasting_files(self) -> list[Path]:
        """Every scan, mask and picture in the store; no decompressed copies and no records."""
        kept = (path for path in self.stored_files() if "unpacked" not in path.parts)
        return [path for path in kept if path.name != RECORD_NAME]


@asynccontextmanager
async def api_process(
    settings: Settings,
) -> AsyncIterator[tuple[subprocess.Popen[bytes], httpx.AsyncClient]]:
    """Run ``python -m api``, warnings as errors, with a client once it is alive."""
    port = free_port()
    environment = os.environ | {
        "REDIS_URL": settings.redis_url,
        "VOXELQ_STORE_URL": settings.store_url,
        "VOXELQ_MODELS_DIR": str(settings.models_dir),
        "VOXELQ_DEFAULT_MODEL": settings.default_model,
    }
    arguments = [sys.executable, "-W", "error", "-m", "api", "--port", str(port)]
    process = await asyncio.to_thread(
        lambda: subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE)
    )
    try:
        transport = httpx.AsyncHTTPTransport(retries=8)
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=60, transport=transport
        ) as client:
            assert (await client.get("/livez")).status_code == 200
            yield process, client
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
