"""Decompressed copies of queued scans, so that a worker need not repeat what the API did.

To refuse a damaged upload at once the front desk unpacks it all; on the same machine it is ten
times cheaper to leave a copy of that than to unpack again. A copy is a shortcut only: it may be
missing, goes as soon as it is read, and the scan itself lies in the store as it was handed in.

Copies are named for the machine's run since it was started: one that outlived a crash of the
machine may lack what never reached the disk, and another machine reads the scan itself as fast.
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

#: A copy of a job handed in longer ago is swept: what waits that long waits for other reasons.
KEPT_S = 600.0

_PARTIAL = ".partial"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def this_boot() -> str | None:
    """Return the kernel's name for its run since the machine was started; None if it has none."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return None


class DecompressedCache:
    """Copies in the folder of a store on disk, together never much larger than the budget.

    They count as large as they will be from the beginning; processes that begin one at the same
    moment may exceed the budget by what they begin.
    """

    def __init__(self, folder: Path, budget_bytes: int, boot_id: str) -> None:
        self._folder = folder
        self._boot_id = boot_id
        self._budget_bytes = budget_bytes
        self._beginning = threading.Lock()

    def begin(self, key: str, size_bytes: int) -> "DecompressedCopy | None":
        """Begin a copy of the scan ``key``; None where there is no room for it."""
        if size_bytes > self._budget_bytes:
            return None
        path = self._path(key)
        with suppress(OSError), self._beginning:
            self._folder.mkdir(parents=True, exist_ok=True)
            free_bytes = shutil.disk_usage(self._folder).free
            taken_bytes = sum(self._sizes())
            # a disk that fills up is left to the scans themselves
            if taken_bytes + size_bytes <= self._budget_bytes <= free_bytes // 2:
                path.parent.mkdir(exist_ok=True)
                return DecompressedCopy(path, size_bytes)
        return None

    def take(self, key: str) -> IO[bytes] | None:
        """Open the copy of ``key`` if there is one; its place is free once the file is closed."""
        path = self._path(key)
        try:
            file = path.open("rb", buffering=0)
        except OSError:
            return None
        with suppress(OSError):
            path.unlink()
            path.parent.rmdir()  # unless another channel is still there
        return file

    def drop(self, job_id: str) -> None:
        """Remove the copies of a job, if there are any."""
        shutil.rmtree(self._folder / job_id, ignore_errors=True)

    def sweep(self) -> None:
        """Remove copies that nobody came for."""
        limit = time.time() - KEPT_S
        for job_id in self._job_ids():
            begun_at = _begun_at(job_id)
            if begun_at is not None and begun_at < limit:
                self.drop(job_id)

    def clear(self) -> bool:
        """Remove every copy, for the disk is short; return whether there were any."""
        job_ids = [name for name in self._job_ids() if _begun_at(name) is not None]
        for job_id in job_ids:
            self.drop(job_id)
        return bool(job_ids)

    def _job_ids(self) -> list[str]:
        with suppress(OSError):
            return os.listdir(self._folder)
        return []

    def _sizes(self) -> Iterator[int]:
        for job_id in self._job_ids():
            # a worker took it, or it is no folder
            with suppress(OSError), os.scandir(self._folder / job_id) as copies:
                for copy in copies:
                    yield copy.stat().st_size

    def _path(self, key: str) -> Path:
        """Return where the copy of ``<shard>/<job id>/<channel>.nii.gz`` lies."""
        _, job_id, name = key.split("/")
        return self._folder / job_id / f"{name.removesuffix('.gz')}.{self._boot_id}"


class DecompressedCopy:
    """A copy under way; it can be read once it is whole. What goes wrong with it ends it only."""

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
        """Add the next bytes."""
        if self._file is not None:
            try:
                whole = self._file.write(piece) == len(piece)
            except OSError:
                whole = False
            if not whole:
                self.abandon()

    def finish(self) -> None:
        """Have the copy found from now on."""
        if self._file is None:
            return
        with suppress(OSError):  # it was swept, or its job deleted
            if self._close():
                self._partial.rename(self._path)
            else:
                self._partial.unlink()

    def abandon(self) -> None:
        """Give the copy up, unless it is finished."""
        if self._file is not None:
            self._close()
            with suppress(OSError):
                self._partial.unlink()

    def _close(self) -> bool:
        """Close the file; return whether the system took all of it."""
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        except OSError:
            return False
        return True


def _begun_at(name: str) -> float | None:
    """Return when the upload of the job of this folder began; None if it is no job's."""
    try:
        return ULID.from_str(name).timestamp
    except ValueError:
        return None
