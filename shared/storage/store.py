"""The only access to scans, masks and pictures.

Each job has a folder of its own. Files are never overwritten. A file is valid once Redis refers to
it: a file that a crash left incomplete is never read, and is deleted with its job.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import fsspec
import structlog
from ulid import ULID

from shared.errors import StoreFull, StoreUnavailable
from shared.storage.decompressed_cache import DecompressedCache, DecompressedCopy, read_boot_id
from shared.storage.faults import store_full, translated_errors

log = structlog.get_logger()

CHUNK_BYTES = 1 << 20

#: The file with a job's submission; see `shared.storage.job_records`.
RECORD_NAME = "job.json"

#: The reserve is at most the disk's size divided by this.
_RESERVE_DIVISOR = 20


def reserve_of(disk_bytes: int, wanted_bytes: int) -> int:
    """Return the free space in bytes that uploads leave on a disk of this size."""
    return min(wanted_bytes, disk_bytes // _RESERVE_DIVISOR)


class ScanStore:
    """Scans and masks under one fsspec URL, such as ``file:///var/lib/voxelq`` or ``s3://bucket``.

    Keys are relative paths, ``<shard>/<job id>/<file name>``.
    """

    def __init__(self, url: str, *, decompressed_bytes: int = 0, reserve_bytes: int = 0) -> None:
        """Open the store.

        Args:
            url: Where it is.
            decompressed_bytes: The most that decompressed copies may take of a disk.
            reserve_bytes: Free space that :meth:`check_room` leaves on a disk, or a twentieth of a
                small disk.

        """
        options = {}
        self._reserve_bytes = reserve_bytes
        #: Whether it is a folder of a file system, which is cheap to check.
        self.on_disk = urlsplit(url).scheme in ("", "file")
        #: Whether the URL means another folder in a process with another working directory.
        self.is_relative = self.on_disk and not Path(url.removeprefix("file://")).is_absolute()
        if self.on_disk:
            url = "file://" + str(Path(url.removeprefix("file://")).resolve())
            options = {"auto_mkdir": True}  # object stores have no folders to make
        #: The store's URL in full.
        self.url = url
        self._fs, root = fsspec.core.url_to_fs(url, **options)
        self._root = str(root).rstrip("/")
        self._decompressed: DecompressedCache | None = None
        boot_id = read_boot_id() if self.on_disk else None
        if boot_id:  # across a network, reading a copy takes longer than decompressing
            # The folder's name is that of older versions, so that their copies are deleted too.
            folder = Path(self._root) / "unpacked"
            self._decompressed = DecompressedCache(folder, decompressed_bytes, boot_id)

    @staticmethod
    def folder(job_id: str) -> str:
        """Return the key of a job's folder, in a shard named after the random end of the id."""
        return f"{job_id[-2:].lower()}/{job_id}"

    def scan_key(self, job_id: str, channel: str, *, gzipped: bool) -> str:
        """Return the key for one channel of a job's scan."""
        return f"{self.folder(job_id)}/{channel}.nii{'.gz' if gzipped else ''}"

    @contextmanager
    def create(self, key: str) -> Iterator[IO[bytes]]:
        """Open ``key`` for writing.

        Raises:
            StoreFull: The device or the quota has no room left.
            StoreUnavailable: The store cannot be written just now.

        """
        with translated_errors(), self._fs.open(self._path(key), "wb") as file:
            yield file

    @contextmanager
    def open(self, key: str) -> Iterator[IO[bytes]]:
        """Open ``key`` for reading.

        Raises:
            FileNotFoundError: There is no such file.
            StoreUnavailable: The store cannot be read just now.

        """
        with translated_errors(), self._fs.open(self._path(key), "rb") as file:
            yield file

    def check_room(self, size_bytes: int = 0) -> None:
        """Return if an upload of ``size_bytes`` leaves the reserve of the store's disk free.

        Masks, pictures and the queue's own file may use the reserve. Decompressed copies are
        deleted first. A store that is not on a disk is not checked.

        Raises:
            StoreFull: There is not enough room.

        """
        if self._lacks(size_bytes):
            if self._decompressed:
                self._decompressed.clear()
            if self._lacks(size_bytes):
                raise store_full()

    def _lacks(self, size_bytes: int) -> bool:
        if not self.on_disk:
            return False
        try:
            disk = shutil.disk_usage(self._root)
        except OSError:  # nothing has been written yet, or else writing will fail
            return False
        return disk.free - size_bytes < reserve_of(disk.total, self._reserve_bytes)

    def begin_decompressed(self, key: str, size_bytes: int) -> DecompressedCopy | None:
        """Start a decompressed copy of the scan ``key``; return None if there is no room for it."""
        if self._decompressed is None or self._lacks(size_bytes):
            return None
        return self._decompressed.begin(key, size_bytes)

    @contextmanager
    def open_scan(self, key: str) -> Iterator[IO[bytes]]:
        """Open the scan ``key`` for reading: its decompressed copy, which is deleted, or the scan.

        Raises:
            FileNotFoundError: There is no such scan.
            StoreUnavailable: The store cannot be read just now.

        """
        copy = self._decompressed.take(key) if self._decompressed else None
        with translated_errors(), copy or self.open(key) as file:
            yield file

    def sweep_decompressed(self) -> None:
        """Delete old decompressed copies, or all of them if the disk is short of space."""
        if self._decompressed:
            self._decompressed.delete_old()
            if self._lacks(0):
                self._decompressed.clear()

    def write(self, key: str, content: bytes) -> None:
        """Store ``content`` under ``key``; raises as :meth:`create` does."""
        try:
            self._write(key, content)
        except StoreFull:
            if self._decompressed is None or not self._decompressed.clear():
                raise
            self._write(key, content)

    def replace(self, key: str, content: bytes) -> None:
        """Replace the content of ``key`` in one step, so that it is never incomplete.

        Raises as :meth:`create` does.
        """
        if not self.on_disk:  # an object store replaces objects in one step
            self._write(key, content)
            return
        partial = f"{key}.{ULID()}.partial"
        try:
            with self.create(partial) as file:
                file.write(content)
                # Else a crash of the machine may leave the new name without its content.
                file.flush()
                os.fsync(file.fileno())
            with translated_errors():
                os.replace(self._path(partial), self._path(key))
        except BaseException:
            with suppress(OSError, StoreUnavailable):
                self.delete(partial)
            raise

    def _write(self, key: str, content: bytes) -> None:
        with self.create(key) as file:
            file.write(content)

    def read(self, key: str) -> bytes:
        """Return all of ``key``; raises as :meth:`open` does."""
        with translated_errors():
            return bytes(self._fs.cat_file(self._path(key)))

    def size(self, key: str) -> int:
        """Return the size of ``key`` in bytes; raises as :meth:`open` does."""
        with translated_errors():
            return int(self._fs.size(self._path(key)))

    def chunks(self, key: str) -> Iterator[bytes]:
        """Yield the content of ``key`` in pieces of 1 MiB."""
        with self.open(key) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def delete(self, key: str) -> None:
        """Delete one file, if it exists; raises StoreUnavailable."""
        with suppress(FileNotFoundError), translated_errors():
            self._fs.rm_file(self._path(key))

    def delete_job(self, job_id: str) -> None:
        """Delete all files of a job, if there are any; their disk space is free at once.

        Raises:
            StoreUnavailable: Some could not be deleted.

        """
        if self._decompressed:
            self._decompressed.delete(job_id)
        folder = self.folder(job_id)
        # The record first, so that no recovery restores a job whose files are partly deleted.
        self.delete(f"{folder}/{RECORD_NAME}")
        with suppress(FileNotFoundError), translated_errors():
            self._fs.rm(self._path(folder), recursive=True)

    def job_ids(self) -> Iterator[str]:
        """Yield the ids of all jobs that have files; raises StoreUnavailable.

        Parts of the store that cannot be listed are left out.
        """
        for shard in self._list(self._root):
            try:
                entries = self._list(shard["name"])
            except StoreUnavailable as error:
                log.warning("store_listing_failed", reason=error.detail)
                continue
            for entry in entries:
                job_id = entry["name"].rstrip("/").rsplit("/", 1)[-1]
                with suppress(ValueError):  # not a job's folder
                    ULID.from_str(job_id)
                    if shard["name"].rstrip("/").endswith(f"/{job_id[-2:].lower()}"):
                        yield job_id

    def file_names(self, job_id: str) -> list[str]:
        """Return the names of a job's files; raises StoreUnavailable."""
        entries = self._list(self._path(self.folder(job_id)))
        return [entry["name"].rsplit("/", 1)[-1] for entry in entries]

    def _list(self, path: str) -> list[dict[str, Any]]:
        try:
            with translated_errors():
                entries: list[dict[str, Any]] = self._fs.ls(path, detail=True, refresh=True)
        except FileNotFoundError:
            return []
        except StoreUnavailable as error:
            if isinstance(error.__cause__, NotADirectoryError):
                return []
            raise
        return entries

    def _path(self, key: str) -> str:
        if ".." in key.split("/"):
            raise ValueError("a store key may not contain ..")
        return f"{self._root}/{key}"
