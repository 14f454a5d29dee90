"""Fixtures of the tests that need a running API."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from shared.settings import Settings
from shared.storage.store import ScanStore
from tests.support.api_server import ApiServer
from tests.support.bundles import write_two_channel_bundle
from tests.support.scripted_worker import ScriptedWorker


@pytest.fixture
def two_channel_model(models_dir: Path) -> str:
    """A bundle that takes two channels, t1 and flair."""
    return write_two_channel_bundle(models_dir)


@pytest.fixture
def server(settings: Settings) -> Iterator[ApiServer]:
    """An API server with this test's settings."""
    started = ApiServer(settings)
    started.start()
    yield started
    started.stop()


@pytest.fixture
async def client(server: ApiServer) -> AsyncIterator[httpx.AsyncClient]:
    """A client of that API server."""
    async with httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as opened:
        yield opened


@pytest.fixture
def scripted_worker(settings: Settings) -> Iterator[ScriptedWorker]:
    """A worker whose steps this test decides."""
    worker = ScriptedWorker(settings)
    yield worker
    worker.close()


@pytest.fixture
def store(settings: Settings) -> ScanStore:
    """The store of this test."""
    return ScanStore(settings.store_url)
