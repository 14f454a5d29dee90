"""Fetched files on disk: each appears whole or not at all."""

import gzip
import uuid
from pathlib import Path


def write_mask(content: bytes, path: Path) -> Path:
    """Write a gzipped mask to ``path``, decompressed if that ends with ``.nii``; return ``path``.

    Raises:
        OSError: It cannot be written.
    """
    return write_whole(gzip.decompress(content) if path.suffix == ".nii" else content, path)


def write_whole(content: bytes, path: Path) -> Path:
    """Write ``content`` to a temporary file beside ``path``, move it there, and return ``path``.

    Raises:
        OSError: It cannot be written.
    """
    partial = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return path
