"""A mask on disk."""

import gzip
import uuid
from pathlib import Path


def write_mask(content: bytes, path: Path) -> Path:
    """Write a gzipped mask to ``path``, unpacked if that ends with ``.nii``; return ``path``.

    It is written beside it first, so that a mask on disk is a whole mask.

    Raises:
        OSError: It cannot be written.
    """
    if path.suffix == ".nii":
        content = gzip.decompress(content)
    partial = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return path
