"""The API that hostile inputs are sent to: a real process with a Redis of its own and no worker."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.common.core_time import peak_memory_mb
from benchmarks.common.processes import python_process, temporary_folder
from benchmarks.common.redis_server import embedded_redis
from benchmarks.common.service_state import is_ok
from benchmarks.common.waiting import wait_until
from benchmarks.hostile.inputs import Hostile
from voxelq.local.valkey import free_port

_TIMEOUT_S = 120.0
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")


@dataclass(frozen=True)
class Target:
    """A running API, its files and a client of it."""

    port: int
    process: psutil.Process
    folder: Path
    redis_url: str
    client: httpx.AsyncClient

    async def send(self, hostile: Hostile) -> int | None:
        """Send one request; return the status, or None where the connection was closed."""
        if hostile.raw is not None:
            return await self._send_raw(hostile.raw)
        pairs = hostile.headers.items()
        headers = [(name.encode(), value.encode("latin-1")) for name, value in pairs]
        try:
            response = await self.client.request(
                hostile.method,
                hostile.path,
                headers=headers,
                content=hostile.body,
            )
        except httpx.TransportError:
            return None
        if response.status_code == 500 and "job-unreadable" in response.text:
            return None  # the right response for a record that this run has damaged
        return response.status_code

    async def _send_raw(self, content: bytes) -> int | None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(content)
            writer.write_eof()
            async with asyncio.timeout(_TIMEOUT_S):
                status_line = _STATUS.match(await reader.read(64))
            return int(status_line[1]) if status_line else None
        except OSError:
            return None
        finally:
            writer.close()

    async def purge(self) -> None:
        """Cancel and purge each job once; what is left afterwards is a fault."""
        cursor = ""
        while True:
            page = (await self.client.get(f"/jobs?limit=200{cursor}")).json()
            for job_id in [job["id"] for job in page["jobs"]]:
                for _ in range(2):
                    await self.client.delete(f"/jobs/{job_id}")
            if page["next_cursor"] is None:
                return
            cursor = f"&cursor={page['next_cursor']}"

    async def jobs_left(self) -> int:
        """Return how many jobs there are."""
        return len((await self.client.get("/jobs")).json()["jobs"])

    def files_left(self) -> int:
        """Return how many files of scans are in the store, decompressed copies included."""
        store = self.folder / "store"
        return sum(path.is_file() and path.parent != store for path in store.rglob("*"))

    def mb(self) -> float:
        """Return the memory of the API."""
        return float(self.process.memory_info().rss) / 2**20

    def mb_peak(self) -> float:
        """Return the peak memory of the API, or the present one where the peak is not known."""
        return peak_memory_mb({"api": [self.process]})["api"] or self.mb()


@contextmanager
def running_api() -> Iterator[Target]:
    """Run the API and yield it once it responds."""
    with temporary_folder() as folder, embedded_redis() as redis_url:
        port = free_port()
        (folder / "models").mkdir()
        settings = {
            "REDIS_URL": redis_url,
            "VOXELQ_STORE_URL": f"file://{folder}/store",
            "VOXELQ_SCAN_ROOT": str(folder / "models"),
            "VOXELQ_MODELS_DIR": str(folder / "models"),
        }
        with python_process(
            ["-m", "api", "--port", str(port)], folder / "api.log", settings
        ) as process:
            base = f"http://127.0.0.1:{port}"
            wait_until(lambda: is_ok(f"{base}/livez"), "the API did not start", bound_s=60)
            # the API is the only child of the wrapper that ends it with this process, or the
            # process itself
            wrapper = psutil.Process(process.pid)
            client = httpx.AsyncClient(base_url=base, timeout=_TIMEOUT_S, trust_env=False)
            yield Target(port, next(iter(wrapper.children()), wrapper), folder, redis_url, client)
