"""Decompressed copies of queued scans, so that workers need not decompress them again.

The API decompresses every upload to check it. For a worker on the same machine, reading a copy of
that is ten times cheaper than decompressing the scan again. A copy is only an optimisation: it may
be missing, it is deleted as soon as it is read, and the store keeps the scan as it was uploaded.

The name of a copy contains the kernel's boot id. A copy from before a crash of the machine may
lack data that never reached the disk, and on another machine a copy saves no time.
"""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from ulid import ULID

#: Copies of jobs that were submitted longer ago are deleted (seconds).
KEPT_S = 600.0

_PARTIAL = ".partial"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def read_boot_id() -> str | None:
    """Return the kernel's boot id; None where there is none."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return None


class DecompressedCache:
    """Copies in the folder of a store on disk, with a budget for their total size.

    A copy counts with its final size from its start on. Processes that start copies at the same
    moment may exceed the budget by those copies.
    """

    def __init__(self, folder: Path, budget_bytes: int, boot_id: str) -> None:
        self._folder = folder
        self._boot_id = boot_id
        self._budget_bytes = budget_bytes
        self._start_lock = threading.Lock()

    def begin(self, key: str, size_bytes: int) -> "DecompressedCopy | None":
        """Start a copy of the scan ``key``; return None if there is no room for it."""
        if size_bytes > self._budget_bytes:
            return None
        path = self._path(key)
        with suppress(OSError), self._start_lock:
            self._folder.mkdir(parents=True, exist_ok=True)
            free_bytes = shutil.disk_usage(self._folder).free
            taken_bytes = sum(self._sizes())
            # on a disk that fills up, scans matter more than copies
            if taken_bytes + size_bytes <= self._budget_bytes <= free_bytes // 2:
                path.parent.mkdir(exist_ok=True)
                return DecompressedCopy(path, size_bytes)
        return None

    def take(self, key: str) -> IO[bytes] | None:
        """Open the copy of ``key``, if there is one, and delete it once it is closed."""
        path = self._path(key)
        try:
            file = path.open("rb", buffering=0)
        except OSError:
            return None
        with suppress(OSError):
            path.unlink()
            path.parent.rmdir()  # fails while there is a copy of another channel
        return file

    def delete(self, job_id: str) -> None:
        """Delete the copies of a job, if there are any."""
        shutil.rmtree(self._folder / job_id, ignore_errors=True)

    def delete_old(self) -> None:
        """Delete copies that no worker has read within `KEPT_S` seconds."""
        limit = time.time() - KEPT_S
        for job_id in self._job_ids():
            started_at = _started_at(job_id)
            if started_at is not None and started_at < limit:
                self.delete(job_id)

    def clear(self) -> bool:
        """Delete every copy to free disk space; return whether there were any."""
        job_ids = [name for name in self._job_ids() if _started_at(name) is not None]
        for job_id in job_ids:
            self.delete(job_id)
        return bool(job_ids)

    def _job_ids(self) -> list[str]:
        with suppress(OSError):
            return os.listdir(self._folder)
        return []

    def _sizes(self) -> Iterator[int]:
        for job_id in self._job_ids():
            # a worker may read and delete it meanwhile, or it is not a folder
            with suppress(OSError), os.scandir(self._folder / job_id) as copies:
                for copy in copies:
                    yield copy.stat().st_size

    def _path(self, key: str) -> Path:
        """Return the path of the copy of ``<shard>/<job id>/<channel>.nii.gz``."""
        _, job_id, name = key.split("/")
        return self._folder / job_id / f"{name.removesuffix('.gz')}.{self._boot_id}"


class DecompressedCopy:
    """A copy that is being written. Its own errors end the copy and never the upload."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        self._partial = path.with_name(path.name + _PARTIAL)
        self._file: IO[bytes] | None = self._partial.open("wb", buffering=0)
        try:
            os.truncate(self._file.fileno(), size_bytes)
        except OSError:
            self.abandon()
            raise

    def write(self, piece: bytes) -> None:
        """Append the next bytes."""
        if self._file is not None:
            try:
                complete = self._file.write(piece) == len(piece)
            except OSError:
                complete = False
            if not complete:
                self.abandon()

    def finish(self) -> None:
        """Make the copy available to workers."""
        if self._file is None:
            return
        with suppress(OSError):  # it was deleted, alone or with its job
            if self._close():
                self._partial.rename(self._path)
            else:
                self._partial.unlink()

    def abandon(self) -> None:
        """Delete the copy, unless it is finished."""
        if self._file is not None:
            self._close()
            with suppress(OSError):
                self._partial.unlink()

    def _close(self) -> bool:
        """Close the file; return whether that succeeded."""
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        except OSError:
            return False
        return True


def _started_at(name: str) -> float | None:
    """Return when the job of this folder was submitted; None if it is not a job's folder."""
    try:
        return ULID.from_str(name).timestamp
    except ValueError:
        return None
