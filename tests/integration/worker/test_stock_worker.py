"""A stock `rq worker`, together with ours or instead of it."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from shared.jobs import JobStatus
from shared.queue.job_queue import JobQueue
from shared.settings import Settings
from shared.storage.store import ScanStore
from tests.support.bundles import write_tiny_bundle
from tests.support.jobs import submission
from tests.support.scans import nifti, voxels
from worker.queueing.leases import Leases


async def test_a_stock_rq_worker_can_run_a_job(
    queue: JobQueue, leases: Leases, settings: Settings, models_dir: Path
) -> None:
    """`rq worker` computes a job by the function it names, and the job reads as finished."""
    write_tiny_bundle(models_dir)
    store = ScanStore(settings.store_url)
    good, bad = submission(model="tiny"), submission(model="tiny")
    for one, content in ((good, nifti(voxels((24, 24, 24)))), (bad, b"not a volume")):
        key = store.scan_key(one.id, "scan", gzipped=False)
        store.write(key, content)
        await queue.submit(one.model_copy(update={"scans": {"scan": key}}))

    command = [
        *(sys.executable, "-m", "rq.cli", "worker", "tiny@1.0.0:routine", "--burst"),
        *("--url", settings.redis_url, "--worker-class", "rq.SimpleWorker"),
        *("--serializer", "rq.serializers.JSONSerializer"),
    ]
    environment = os.environ | {
        "VOXELQ_STORE_URL": settings.store_url,
        "VOXELQ_MODELS_DIR": str(models_dir),
        "VOXELQ_DEFAULT_MODEL": "tiny",
    }
    ran = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr

    finished, failed = await queue.get(good.id), await queue.get(bad.id)
    assert (finished.status, finished.attempts) == (JobStatus.FINISHED, 1)
    assert finished.report is not None
    assert store.size(finished.report.artefacts["mask"]) > 0
    assert failed.status is JobStatus.FAILED
    leases.reap()
    assert [job.id for job in (await queue.page(JobStatus.FINISHED, 9, None)).jobs] == [good.id]
    assert (await queue.state()).started == 0
