"""Checks an uploaded scan while its bytes stream by, within a few MiB of memory.

Nothing here trusts a header further than the limits that the caller gives.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import BadScan, ScanTooLarge
from shared.volumes.nifti_header import VolumeHeader
from shared.volumes.nifti_stream import NiftiPiece, NiftiStream


@dataclass(frozen=True)
class Inspection:
    """The facts of a checked scan; ``sha256`` and ``bytes`` are of the file as uploaded."""

    header: VolumeHeader
    sha256: str
    bytes: int
    gzipped: bool


class ScanInspector:
    """Checks one scan, gzipped or not, block by block.

    The header is validated as soon as it is complete, the voxels while they arrive. The outcome
    does not depend on how the bytes are split into blocks.
    """

    def __init__(self, *, max_scan_bytes: int, max_voxels: int) -> None:
        self._max_scan_bytes = max_scan_bytes
        self._range = _ValueRange()
        self._stream = NiftiStream(max_voxels)
        self._sha256 = hashlib.sha256()
        self._bytes = 0

    @property
    def header(self) -> VolumeHeader | None:
        """The header, once it is complete and valid; None before."""
        return self._stream.header

    @property
    def gzipped(self) -> bool | None:
        """Whether the scan is gzipped; None before two bytes have arrived."""
        return self._stream.gzipped

    def inspect(self, block: bytes) -> Iterator[NiftiPiece]:
        """Yield what the next bytes of the upload hold, each piece once it is checked.

        A block is checked only as far as its pieces are iterated.

        Raises:
            UnsupportedMedia: This is not a NIfTI volume, nor a gzip of one.
            ScanTooLarge: More bytes or voxels than allowed.
            BadScan: The volume cannot be used, or the gzip is damaged.

        """
        self._bytes += len(block)
        if self._bytes > self._max_scan_bytes:
            raise ScanTooLarge(f"The scan is larger than {self._max_scan_bytes} bytes.")
        self._sha256.update(block)
        for piece in self._stream.feed(block):
            self._range.include(piece.header, piece.voxels)
            yield piece

    def finish(self) -> Inspection:
        """Return the facts of the scan, after the last block.

        Raises:
            UnsupportedMedia: This is not a NIfTI volume, nor a gzip of one.
            BadScan: The scan is empty, truncated, or holds a single value throughout.

        """
        header = self._stream.finish()
        self._range.check(header)
        return Inspection(header, self._sha256.hexdigest(), self._bytes, bool(self.gzipped))


class _ValueRange:
    """The smallest and the largest stored value; a voxel may be cut between two blocks."""

    def __init__(self) -> None:
        self._low: float = math.inf
        self._high: float = -math.inf
        self._cut_voxel = b""

    def include(self, header: VolumeHeader, voxels: memoryview) -> None:
        size = header.dtype.itemsize
        if self._cut_voxel:
            missing = size - len(self._cut_voxel)
            rest, voxels = bytes(voxels[:missing]), voxels[missing:]
            self._cut_voxel += rest
            if len(self._cut_voxel) < size:
                return
            self._widen(np.frombuffer(self._cut_voxel, dtype=header.dtype))
        whole = len(voxels) - len(voxels) % size
        self._cut_voxel = bytes(voxels[whole:])
        if whole:
            self._widen(np.frombuffer(voxels[:whole], dtype=header.dtype))

    def check(self, header: VolumeHeader) -> None:
        """Raise BadScan unless the scaled values are finite in float32 and more than one."""
        with np.errstate(all="ignore"):
            scaled = [header.slope * end + header.inter for end in (self._low, self._high)]
            ends = np.array(scaled, dtype=np.float32)
        if not np.isfinite(ends).all():
            raise BadScan("Some voxels are not finite once slope and intercept are applied.")
        if ends[0] == ends[1]:
            raise BadScan("All voxels hold the same value: there is nothing to see.")

    def _widen(self, values: NDArray[Any]) -> None:
        with np.errstate(all="ignore"):
            native = values.astype(values.dtype.newbyteorder("="), copy=False)
            low, high = native.min().item(), native.max().item()
        if not (math.isfinite(low) and math.isfinite(high)):
            raise BadScan("Some voxels are not finite (NaN or infinite).")
        self._low, self._high = min(self._low, low), max(self._high, high)
