"""Scans that are read from ``SCAN_ROOT``: the client sends paths instead of bytes."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from api.model_registry import MAX_AGE_S
from api.services import Services
from api.submission.model_inputs import SCAN_FIELD
from api.submission.pump import BLOCK_BYTES, pump_blocks
from api.submission.scan_writer import ScanWriter
from shared.errors import BadRequest, BadScan, NotFound, ScanPathForbidden


async def copy_scan_paths(services: Services, writer: ScanWriter, paths: object) -> None:
    """Copy the file at each path into the store; ``paths`` is the JSON member ``scan_path``.

    Raises:
        BadRequest: It is no path, nor an object with a path for each input of a model.
        ScanPathForbidden: A path leaves ``SCAN_ROOT``, or there is no such folder.
        NotFound: There is no readable file.
        VoxelQError: The scan is refused.

    """
    if isinstance(paths, str):
        paths = {SCAN_FIELD: paths}
    if not isinstance(paths, dict) or not all(isinstance(path, str) for path in paths.values()):
        raise BadRequest("scan_path is a path, or an object with a path for each input.")
    inputs = (await services.model_registry.available(max_age_s=MAX_AGE_S)).input_names
    if paths.keys() - inputs - {SCAN_FIELD}:
        raise BadRequest("scan_path names an input that no model has.")
    for field, path in paths.items():
        blocks = _file_blocks(_resolve(services.settings.scan_root, path))
        await pump_blocks(blocks, field, writer, services.thread_pools.uploads)


def _resolve(scan_root: Path | None, path: str) -> Path:
    if scan_root is None:
        raise ScanPathForbidden("This service takes no scan_path: VOXELQ_SCAN_ROOT is not set.")
    root = scan_root.resolve()
    try:
        resolved = (root / path).resolve()
    except (ValueError, OSError, RuntimeError) as error:
        raise BadRequest("scan_path is not a usable path.") from error
    if not resolved.is_relative_to(root):
        raise ScanPathForbidden("scan_path leaves VOXELQ_SCAN_ROOT.")
    return resolved


def _file_blocks(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a regular file; a pipe would hold the thread forever."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise NotFound("There is no readable file at this scan_path.") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BadScan("scan_path does not name a regular file.")
    with open(descriptor, "rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            yield block
