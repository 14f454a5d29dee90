"""Retention."""

import asyncio
import time

import pytest
from ulid import ULID

from shared.errors import JobNotFound
from shared.job_queue import JobQueue
from shared.settings import Settings
from shared.store import ScanStore
from tests.jobs import submission
from worker.connection import connect
from worker.janitor import Janitor


async def test_only_what_is_over_its_time_is_purged(queue: JobQueue, settings: Settings) -> None:
    """A terminal job older than RETENTION_S goes with its files; a live one of that age stays."""
    store = ScanStore(settings.store_url)
    ended, live = submission(), submission()
    for one in (ended, live):
        store.write(store.scan_key(one.id, "scan", gzipped=False), b"volume")
        await queue.submit(one)
    await queue.cancel(ended.id)
    with connect(settings) as client:
        patient = Janitor(client, store, settings)
        assert patient.purge_expired() == 0
        await asyncio.sleep(0.01)
        hasty = Janitor(client, store, settings.model_copy(update={"retention_s": 0.001}))
        assert hasty.purge_expired() == 1
    with pytest.raises(JobNotFound):
        await queue.get(ended.id)
    with pytest.raises(FileNotFoundError):
        store.size(store.scan_key(ended.id, "scan", gzipped=False))
    assert (await queue.get(live.id)).position == 0
    assert store.size(store.scan_key(live.id, "scan", gzipped=False)) == 6


async def test_orphans_are_purged(queue: JobQueue, settings: Settings) -> None:
    """Files handed in long ago that no job refers to go; a job's stay, and so do new uploads."""
    store = ScanStore(settings.store_url)
    long_ago = time.time() - 2 * settings.retention_s
    orphan, known = (submission(id=str(ULID.from_timestamp(long_ago))) for _ in range(2))
    await queue.submit(known)
    keys = [store.scan_key(one.id, "scan", gzipped=False) for one in (orphan, known, submission())]
    for key in keys:
        store.write(key, b"volume")
    with connect(settings) as client:
        assert Janitor(client, store, settings).purge_orphans() == 1
    with pytest.raises(FileNotFoundError):
        store.size(keys[0])
    assert [store.size(key) for key in keys[1:]] == [6, 6]
