"""A front desk that answers on a real port, and a client in front of it."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from api.__main__ import Server
from shared.settings import Settings
from shared.store import ScanStore
from tests.conftest import free_port
from tests.reading_room import ReadingRoom


class FrontDeskServer:
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
    def blocked(self) -> int:
        """How many clients wait for a job."""
        return int(self.server.config.app.state.desk.waiter.blocked)  # type: ignore[union-attr]

    async def until_blocked(self, clients: int) -> None:
        """Return once exactly so many clients wait."""
        await self.until(lambda: self.blocked == clients)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return once ``holds`` does."""
        async with asyncio.timeout(60):
            while not holds():  # noqa: ASYNC110 - the server runs in another thread
                await asyncio.sleep(0.01)

    def stored_files(self) -> list[Path]:
        """Every file in the store."""
        root = Path(self.settings.store_url.removeprefix("file://"))
        return [path for path in root.rglob("*") if path.is_file()]


@pytest.fixture
def two_channel_model(models_dir: Path) -> str:
    """A bundle that takes two channels, t1 and flair."""
    configs = models_dir / "two-channels" / "2.0.0" / "configs"
    configs.mkdir(parents=True)
    single = json.loads((models_dir / "test-model/1.0.0/configs/metadata.json").read_text())
    inputs = [{"name": "t1", "modality": "T1"}, {"name": "flair", "modality": "FLAIR"}]
    card = single | {"name": "two-channels", "version": "2.0.0", "inputs": inputs}
    (configs / "metadata.json").write_text(json.dumps(card))
    return "two-channels"


@pytest.fixture
def server(settings: Settings) -> Iterator[FrontDeskServer]:
    """A front desk with this test's settings."""
    started = FrontDeskServer(settings)
    started.start()
    yield started
    started.stop()


@pytest.fixture
async def client(server: FrontDeskServer) -> AsyncIterator[httpx.AsyncClient]:
    """A client of that front desk."""
    async with httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as opened:
        yield opened


@pytest.fixture
def reading_room(settings: Settings) -> Iterator[ReadingRoom]:
    """A stand-in for the workers of this test's queue."""
    room = ReadingRoom(settings)
    yield room
    room.close()


@pytest.fixture
def store(settings: Settings) -> ScanStore:
    """The store of this test."""
    return ScanStore(settings.store_url)
