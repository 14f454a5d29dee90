"""A clinic's scans, in five different shapes, and the checks of what comes back for them.

This module does not import locust, which patches the whole process that imports it.
"""

import json
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import sample_scan as recipe
from benchmarks.common.plain_nifti import HEADER_BYTES, Shape
from shared.sample import SAMPLE_SCAN

CACHE = Path(__file__).parents[1] / ".cache"
#: The headers of an upload whose body is a gzipped NIfTI file.
GZIP = {"Content-Type": "application/gzip"}
#: The states that a job never leaves.
TERMINAL = frozenset({"finished", "failed", "canceled"})
#: Shapes of usual protocols, and small shapes for quick runs.
SHAPES: dict[str, tuple[Shape, ...]] = {
    "large": ((256, 256, 128), (240, 240, 155), (192, 256, 160), (256, 256, 48), (320, 320, 36)),
    "small": ((48, 48, 32), (40, 40, 36), (36, 48, 40), (48, 48, 16), (64, 64, 24)),
}


@dataclass(frozen=True)
class Scan:
    """A gzipped NIfTI volume, and its voxels along each axis."""

    shape: Shape
    content: bytes


def clinic_scans(kind: str, cache: Path = CACHE) -> list[Scan]:
    """Return the five ``large`` or ``small`` scans, each generated once and stored in ``cache``."""
    return [Scan(shape, _cached(shape, cache)) for shape in SHAPES[kind]]


def _cached(shape: Shape, cache: Path) -> bytes:
    # a changed recipe or sample gives another file name, so that no outdated scan is used
    origin = Path(recipe.__file__).read_bytes() + SAMPLE_SCAN.read_bytes()
    name = "x".join(map(str, shape))
    path = cache / f"{name}-{zlib.crc32(origin):08x}.nii.gz"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        # written under a name of this process's own first, so that the cache has whole scans only
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_bytes(recipe.sample_scan(shape))
        partial.replace(path)
    return path.read_bytes()


def refusal(status: int, body: bytes) -> str:
    """Return why a call was refused: the title of the problem, which contains nothing of a scan."""
    try:
        title = json.loads(body)["title"]
    except (ValueError, KeyError, TypeError):
        title = "a response that is not problem+json"
    return f"{status}: {title}"


def job_fault(job: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a terminal job, or None for one that is finished."""
    if job["status"] == "finished":
        return None if job["result"] and job["timings_s"] else "finished without a result"
    if job["status"] == "failed":
        return f"failed: {(job['error'] or {}).get('title', 'without a reason')}"
    return f"not finished but {job['status']}"


def mask_fault(mask: bytes, shape: Shape) -> str | None:
    """Return what is wrong with a mask (``.nii.gz``), or None if its grid is the scan's."""
    try:
        header = zlib.decompressobj(wbits=31).decompress(mask, HEADER_BYTES)
        axes = struct.unpack_from("<4h", header, 40)
    except (zlib.error, struct.error):
        return "response without a mask"
    return None if axes == (3, *shape) else "the mask is not in the scan's grid"
