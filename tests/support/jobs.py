"""Submissions and worker processes for tests of the queue."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from ulid import ULID

from shared.jobs import Job, JobStatus, Priority, Submission
from shared.queue.job_queue import JobQueue
from shared.settings import Settings


def submission(scan: str = "ok", **changes: Any) -> Submission:
    """Return a submission; a scripted engine reads from its scan key what to do."""
    members = {
        "id": str(ULID()),
        "model": "test-model",
        "version": "1.0.0",
        "priority": Priority.ROUTINE,
        "scans": {"scan": scan},
        "sha256": "0" * 64,
        "created_at": datetime.now(UTC),
    }
    return Submission.model_validate({**members, **changes})


async def wait_for(
    queue: JobQueue, job_ids: Iterable[str], status: JobStatus | None = None, *, limit_s: float = 60
) -> list[Job]:
    """Return the jobs once all are terminal, or all have ``status``."""
    ids = list(job_ids)
    deadline = time.monotonic() + limit_s
    while True:
        jobs = [await queue.get(job_id) for job_id in ids]
        if all(job.status is status if status else job.status.terminal for job in jobs):
            return jobs
        if time.monotonic() > deadline:
            raise TimeoutError(f"still {[job.status.value for job in jobs]}")
        await asyncio.sleep(0.02)


class Workers:
    """Scripted workers as processes, with the settings of a test."""

    def __init__(self, settings: Settings) -> None:
        self._environment = os.environ | {
            "REDIS_URL": settings.redis_url,
            "VOXELQ_LEASE_S": str(settings.lease_s),
            "VOXELQ_MAX_ATTEMPTS": str(settings.max_attempts),
            "VOXELQ_DRAIN_S": str(settings.drain_s),
            "VOXELQ_JOB_TIMEOUT_S": str(settings.job_timeout_s),
            "VOXELQ_MAX_BATCH_SIZE": str(settings.max_batch_size),
            "VOXELQ_ADAPTIVE_BATCHING": str(settings.adaptive_batching),
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        """Start one more worker."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fake_worker"],
            env=self._environment,
            stderr=subprocess.DEVNULL,
        )
        self.processes.append(process)
        return process

    def kill_all(self) -> None:
        """Kill all workers that are still running."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
