"""`voxelq recover`, as a process."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from shared.queue import keys
from shared.settings import Settings
from shared.storage.identity import StoreIdentity
from shared.storage.store import ScanStore
from tests.integration.shared.test_recovery import stored
from worker.queueing.connection import connect


def recover(settings: Settings, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command on this test's queue and store."""
    environment = os.environ | {
        "REDIS_URL": settings.redis_url,
        "VOXELQ_STORE_URL": settings.store_url,
    }
    return subprocess.run(
        [sys.executable, "-m", "voxelq", "recover", *options],
        env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.fixture
def redis(settings: Settings) -> Iterator[Redis]:
    """A client of this test's server, which knows the store."""
    with connect(settings) as opened:
        StoreIdentity(opened, ScanStore(settings.store_url)).check()
        opened.set(keys.SERVICE, "ours")
        yield opened


def test_lost_jobs_are_counted_and_recovered(
    settings: Settings, store: ScanStore, redis: Redis
) -> None:
    """A dry run counts, a run recovers this queue's jobs, and --adopt-all the others."""
    for service in ("ours", "theirs", "theirs"):
        stored(store, service)
    dry = recover(settings, "--dry-run", "--json")
    assert json.loads(dry.stdout) == {"lost": 1, "others": {"theirs": 2}}
    assert redis.zcard(keys.INDEX) == 0
    run = recover(settings)
    assert run.returncode == 0
    assert "1 scan queued again" in run.stdout
    assert "2 scans of other data sets were left alone" in run.stderr
    every = recover(settings, "--adopt-all", "--json")
    assert json.loads(every.stdout)["queued"] == 2
    assert json.loads(every.stdout)["others"] == {}
    assert redis.zcard(keys.INDEX) == 3


def test_another_store_is_refused_until_it_is_adopted(
    settings: Settings, tmp_path: Path, redis: Redis
) -> None:
    """A store that was moved on purpose is accepted with `--adopt-store`."""
    moved = settings.model_copy(update={"store_url": f"file://{tmp_path}/moved"})
    stored(ScanStore(moved.store_url))
    refused = recover(moved)
    assert refused.returncode == 1
    assert "--adopt-store" in refused.stderr
    assert "1 scan queued again" in recover(moved, "--adopt-store").stdout


def test_a_queue_that_is_away_is_reported(settings: Settings) -> None:
    """Without Redis nothing is recovered, and the exit code is 3."""
    away = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    answer = recover(away)
    assert answer.returncode == 3
    assert "Redis does not answer" in answer.stderr
