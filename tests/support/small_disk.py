"""A small disk that a test may fill: a file system in memory."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """Mount a disk of this size on ``folder`` until the block ends.

    If that is not permitted, the test is skipped; in CI (``CI=true``) it fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "voxelq-test", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no disk could be mounted: {mounted.stderr}")
        pytest.skip("no disk can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, *, leave_bytes: int = 0) -> Path:
    """Fill the disk of ``folder`` except for so many bytes; return the file that fills it."""
    filler = folder / "filler"
    free = os.statvfs(folder)
    size = max(0, free.f_bavail * free.f_frsize - leave_bytes)
    with filler.open("wb", buffering=0) as file:
        try:
            while size > 0:
                size -= file.write(bytes(min(size, 1 << 16)))
        except OSError:
            pass  # it is full
    return filler
