"""Small disks in memory, which can be filled and freed."""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FILLER = ".filler"
_LEAST_BYTES = 4096


class MountNotPermitted(Exception):
    """This process may not mount file systems, which needs root."""


@contextmanager
def mounted(folder: Path, size_bytes: int) -> Iterator[Path]:
    """Mount an empty file system of this size on ``folder`` until the block ends.

    Raises:
        MountNotPermitted: This process may not mount.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=700", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise MountNotPermitted("there is no mount command") from error
    if done.returncode:
        raise MountNotPermitted(done.stderr.strip())
    try:
        yield folder
    finally:
        # lazily, because a process that a failed test left behind may still use it
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Leave no free byte on the file system of ``folder`` until the block ends."""
    filler = folder / _FILLER
    try:
        with filler.open("wb", buffering=0) as file:
            size_bytes, piece_bytes = 0, 1 << 24
            while piece_bytes >= _LEAST_BYTES:  # other processes also write
                try:
                    os.posix_fallocate(file.fileno(), size_bytes, piece_bytes)
                    size_bytes += piece_bytes
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    piece_bytes //= 2
        yield
    finally:
        filler.unlink(missing_ok=True)
