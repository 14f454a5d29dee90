"""The only door to scans, masks and pictures.

Files of a job lie in one folder of its own. Nothing is ever overwritten: a file counts once
Redis refers to it, so what a crash left half-written is never read, and goes with its job.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import fsspec
from ulid import ULID

from shared.errors import StoreFull
from shared.unpacked import UnpackedCopy, UnpackedScans, this_boot

CHUNK_BYTES = 1 << 20
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class ScanStore:
    """Scans and masks under one fsspec URL, such as ``file:///var/lib/voxelq`` or ``s3://bucket``.

    Keys are relative paths, ``<shard>/<job id>/<file name>``.
    """

    def __init__(self, url: str, *, unpacked_bytes: int = 0) -> None:
        """Open the store; ``unpacked_bytes`` is what unpacked copies may take of a disk."""
        options = {}
        on_disk = urlsplit(url).scheme in ("", "file")
        if on_disk:
            url = "file://" + str(Path(url.removeprefix("file://")).resolve())
            options = {"auto_mkdir": True}  # object stores have no folders to make
        self._fs, root = fsspec.core.url_to_fs(url, **options)
        self._root = str(root).rstrip("/")
        self._unpacked: UnpackedScans | None = None
        if on_disk and (boot_id := this_boot()):  # from elsewhere a copy is dearer than unpacking
            folder = Path(self._root) / "unpacked"
            self._unpacked = UnpackedScans(folder, unpacked_bytes, boot_id)

    @staticmethod
    def folder(job_id: str) -> str:
        """Return the key under which all files of a job lie; the end of an id spreads well."""
        return f"{job_id[-2:].lower()}/{job_id}"

    def scan_key(self, job_id: str, channel: str, *, gzipped: bool) -> str:
        """Return the key for one channel of a job's scan."""
        return f"{self.folder(job_id)}/{channel}.nii{'.gz' if gzipped else ''}"

    @contextmanager
    def create(self, key: str) -> Iterator[IO[bytes]]:
        """Open ``key`` for writing.

        Raises:
            StoreFull: The device or the quota has no room left.

        """
        with _room(), self._fs.open(self._path(key), "wb") as file:
            yield file

    @contextmanager
    def open(self, key: str) -> Iterator[IO[bytes]]:
        """Open ``key`` for reading.

        Raises:
            FileNotFoundError: There is no such file.

        """
        with self._fs.open(self._path(key), "rb") as file:
            yield file

    def begin_unpacked(self, key: str, size_bytes: int) -> UnpackedCopy | None:
        """Begin an unpacked copy of the scan ``key``, if this store has room for such."""
        return self._unpacked.begin(key, size_bytes) if self._unpacked else None

    @contextmanager
    def open_scan(self, key: str) -> Iterator[IO[bytes]]:
        """Open the scan ``key`` to be read once: its unpacked copy, which is then gone, or itself.

        Raises:
            FileNotFoundError: There is no such scan.

        """
        copy = self._unpacked.take(key) if self._unpacked else None
        with copy or self.open(key) as file:
            yield file

    def sweep_unpacked(self) -> None:
        """Remove unpacked copies that nobody came for."""
        if self._unpacked:
            self._unpacked.sweep()

    def write(self, key: str, content: bytes) -> None:
        """Store ``content`` under ``key``; raises StoreFull as :meth:`create` does."""
        with self.create(key) as file:
            file.write(content)

    def read(self, key: str) -> bytes:
        """Return all of ``key``; raises FileNotFoundError as :meth:`open` does."""
        return bytes(self._fs.cat_file(self._path(key)))

    def size(self, key: str) -> int:
        """Return the size of ``key`` in bytes; raises FileNotFoundError as :meth:`open` does."""
        return int(self._fs.size(self._path(key)))

    def chunks(self, key: str) -> Iterator[bytes]:
        """Yield ``key`` in pieces of 1 MiB."""
        with self.open(key) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def delete(self, key: str) -> None:
        """Remove one file, if it is there."""
        with _gone_is_fine():
            self._fs.rm_file(self._path(key))

    def delete_job(self, job_id: str) -> None:
        """Remove all files of a job, if there are any; their disk space is free at once."""
        if self._unpacked:
            self._unpacked.drop(job_id)
        with _gone_is_fine():
            self._fs.rm(self._path(self.folder(job_id)), recursive=True)

    def jobs_older_than(self, timestamp: float) -> Iterator[str]:
        """Yield ids of jobs that have files and were handed in before ``timestamp`` (Unix seconds).

        An id tells when its upload began, which not every store does.
        """
        for shard in self._list(self._root):
            for entry in self._list(shard["name"]):
                job_id = entry["name"].rstrip("/").rsplit("/", 1)[-1]
                with suppress(ValueError):  # no job's folder, and not ours to judge
                    if ULID.from_str(job_id).timestamp < timestamp:
                        yield job_id

    def _list(self, path: str) -> list[dict[str, Any]]:
        try:
            entries: list[dict[str, Any]] = self._fs.ls(path, detail=True, refresh=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return entries

    def _path(self, key: str) -> str:
        if ".." in key.split("/"):
            raise ValueError("a store key may not climb")
        return f"{self._root}/{key}"


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise StoreFull(
                "The store has no room for this scan; purge finished jobs or enlarge it.",
                retry_after_s=60,
            ) from error
        raise


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    with suppress(FileNotFoundError):
        yield
