"""Fixtures of all tests: a real Valkey, settings, and a model bundle."""

import json
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis

from shared.queue.job_queue import JobQueue
from shared.settings import Settings
from tests.support.bundles import write_empty_weights
from tests.support.command_line import Run
from tests.support.jobs import Workers
from voxelq.cli import app
from voxelq.local.valkey import EmbeddedServer
from worker.queueing.connection import connect
from worker.queueing.leases import Leases


class Valkey:
    """The embedded server with its append-only file; a test may kill and restart it."""

    def __init__(self, folder: Path) -> None:
        self._server = EmbeddedServer(folder)
        self.url = self._server.url
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start on the same port and files as before, and wait until it responds."""
        self._process = subprocess.Popen(self._server.prepare(), stdout=subprocess.DEVNULL)
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    if client.ping():
                        return
                except redis.ConnectionError:
                    time.sleep(0.02)

    def kill(self) -> None:
        """Kill it as a crash would (SIGKILL)."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """One server for the whole run; the fixture ``valkey`` empties it for each test."""
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def valkey(valkey_server: Valkey) -> Valkey:
    """A running, empty server."""
    with redis.Redis.from_url(valkey_server.url) as client:
        client.flushall()
    return valkey_server


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    """A folder with one bundle of one channel, whose weights are an empty archive."""
    folder = tmp_path / "models" / "test-model" / "1.0.0" / "configs"
    folder.mkdir(parents=True)
    metadata = {
        "name": "test-model",
        "version": "1.0.0",
        "description": "a model for tests",
        "inputs": [{"name": "scan", "modality": "FLAIR"}],
        "labels": [{"value": 1, "name": "whole tumour"}],
        "license": "Apache-2.0",
        "intended_use": "tests",
    }
    (folder / "metadata.json").write_text(json.dumps(metadata))
    write_empty_weights(folder.parent)
    return tmp_path / "models"


@pytest.fixture
def settings(valkey: Valkey, tmp_path: Path, models_dir: Path) -> Settings:
    """Settings for a service of one test."""
    return Settings(
        redis_url=valkey.url,
        store_url=f"file://{tmp_path}/store",
        models_dir=models_dir,
        default_model="test-model",
        lease_s=2.0,
    )


@pytest.fixture
async def queue(settings: Settings) -> AsyncIterator[JobQueue]:
    """The queue of this test."""
    async with JobQueue(settings) as opened:
        yield opened


@pytest.fixture
def leases(settings: Settings) -> Iterator[Leases]:
    """The leases of a worker of this test."""
    with connect(settings) as client:
        yield Leases(client, "worker-1", settings)


@pytest.fixture
def workers(settings: Settings) -> Iterator[Workers]:
    """Scripted workers that always draw the largest batch; they are killed after the test."""
    started = Workers(settings.model_copy(update={"adaptive_batching": False}))
    yield started
    started.kill_all()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run one command in this process and return its exit code."""

    def call(*arguments: object) -> int:
        monkeypatch.setattr("sys.argv", ["voxelq", *map(str, arguments)])
        with pytest.raises(SystemExit) as ending:
            app.main()
        return int(ending.value.code or 0)

    return call
