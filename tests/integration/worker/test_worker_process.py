"""``python -m worker`` as a process, with a small network."""

import os
import subprocess
import sys
from pathlib import Path

from shared.jobs import JobStatus
from shared.queue.job_queue import JobQueue
from shared.settings import Settings
from shared.storage.store import ScanStore
from tests.conftest import Valkey
from tests.support.bundles import write_tiny_bundle
from tests.support.jobs import submission, wait_for
from tests.support.scans import nifti, voxels


def start(settings: Settings) -> subprocess.Popen[bytes]:
    """Start a worker that serves the tiny bundle."""
    environment = os.environ | {
        "REDIS_URL": settings.redis_url,
        "VOXELQ_STORE_URL": settings.store_url,
        "VOXELQ_MODELS_DIR": str(settings.models_dir),
        "VOXELQ_DEFAULT_MODEL": "tiny",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "worker"], env=environment, stderr=subprocess.PIPE
    )


async def test_a_worker_waits_for_redis_serves_and_leaves(
    settings: Settings, models_dir: Path, tmp_path: Path
) -> None:
    """A worker started before Redis serves once it is there, and exits 0 on SIGTERM.

    Its log has ids and numbers, and nothing of the scan.
    """
    write_tiny_bundle(models_dir)
    late = Valkey(tmp_path / "late")
    settings = settings.model_copy(update={"redis_url": late.url})
    process = start(settings)
    assert process.stderr is not None
    log = [process.stderr.readline()]
    assert b"redis_awaited" in log[0]
    late.start()
    try:
        store, submitted = ScanStore(settings.store_url), submission(model="tiny")
        key = store.scan_key(submitted.id, "scan", gzipped=False)
        store.write(key, nifti(voxels((24, 24, 24)), descrip=b"SURNAME"))
        async with JobQueue(settings) as queue:
            await queue.submit(submitted.model_copy(update={"scans": {"scan": key}}))
            (job,) = await wait_for(queue, [submitted.id])
        process.terminate()
        _, rest = process.communicate()
    finally:
        late.kill()
    assert job.status is JobStatus.FINISHED
    assert process.returncode == 0
    assert b"batch_settled" in rest
    assert b"SURNAME" not in rest
