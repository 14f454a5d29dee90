"""``python -m worker`` as a process, with the settings of a test."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.settings import Settings


def environment(settings: Settings) -> dict[str, str]:
    """Return this environment with those settings of a test that a worker reads."""
    return os.environ | {
        "REDIS_URL": settings.redis_url,
        "VOXELQ_STORE_URL": settings.store_url,
        "VOXELQ_MODELS_DIR": str(settings.models_dir),
        "VOXELQ_DEFAULT_MODEL": settings.default_model,
        "VOXELQ_JOB_TIMEOUT_S": str(settings.job_timeout_s),
        "VOXELQ_THREADS": "1",
    }


@contextmanager
def worker_process(settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker that logs to ``log``; it is stopped by SIGTERM when the block ends."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker"], env=environment(settings), stderr=file
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
