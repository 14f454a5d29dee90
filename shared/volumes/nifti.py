"""NIfTI volumes in and out, bounded: inspecting an upload, reading a scan, writing a mask.

Nothing here trusts a header further than the limits that it is given.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from isal import igzip
from numpy.typing import NDArray

from shared.errors import BadScan, ScanTooLarge, UnsupportedMedia
from shared.volumes.gzip_stream import GZIP_MAGIC, PIECE_BYTES, GzipUnpacker
from shared.volumes.nifti_header import VolumeHeader

__all__ = ["Inspection", "ScanInspector", "Volume", "VolumeHeader", "mask_bytes", "read_volume"]

# What a mask keeps of its scan's header: where the voxels lie, and nothing that is text.
_GEOMETRY_FIELDS = (
    "dim",
    "pixdim",
    "xyzt_units",
    "qform_code",
    "sform_code",
    "quatern_b",
    "quatern_c",
    "quatern_d",
    "qoffset_x",
    "qoffset_y",
    "qoffset_z",
    "srow_x",
    "srow_y",
    "srow_z",
)
_UINT8_CODE = 2


@dataclass(frozen=True)
class Inspection:
    """What was learned of a scan while it streamed by; ``sha256`` and ``bytes`` as handed in."""

    header: VolumeHeader
    sha256: str
    bytes: int
    gzipped: bool


@dataclass(frozen=True, eq=False)
class Volume:
    """A scan in memory: ``data`` is (x, y, z) in the stored type, native and Fortran-ordered."""

    header: VolumeHeader
    data: NDArray[Any]

    def scaled(self) -> NDArray[np.float32]:
        """Return the intensities, slope and intercept applied: float32 (x, y, z)."""
        if self.header.slope == 1 and self.header.inter == 0:
            return self.data.astype(np.float32)
        # Types that float32 does not hold exactly are scaled in float64.
        exact = self.data.astype(np.result_type(self.data.dtype, np.float32))
        exact *= self.header.slope
        exact += self.header.inter
        return exact.astype(np.float32, copy=False)


class ScanInspector:
    """Checks one scan, gzipped or not, as its bytes stream by; memory stays within a few MiB.

    The header is judged as soon as its bytes are there, the voxels as they pass. Any split of
    the same bytes into blocks has the same outcome.
    """

    def __init__(
        self,
        *,
        max_scan_bytes: int,
        max_voxels: int,
        on_decompressed: Callable[[VolumeHeader, bytes], None] | None = None,
    ) -> None:
        """Begin; ``on_decompressed`` gets a gzip's content in pieces, once the header is known."""
        self._max_scan_bytes = max_scan_bytes
        self._stream = _ScanStream(max_voxels, self._see, on_decompressed)
        self._range = _ValueRange()
        self._sha256 = hashlib.sha256()
        self._bytes = 0

    @property
    def header(self) -> VolumeHeader | None:
        """The header, once it has been seen and found usable."""
        return self._stream.header

    @property
    def gzipped(self) -> bool | None:
        """Whether the scan is gzipped; ``None`` until two bytes have come."""
        return self._stream.gzipped

    def feed(self, block: bytes) -> None:
        """Take the next bytes, as handed in.

        Raises:
            UnsupportedMedia: This is not a NIfTI volume, nor a gzip of one.
            ScanTooLarge: More bytes or voxels than allowed.
            BadScan: The volume cannot be used, or the gzip is damaged.

        """
        self._bytes += len(block)
        if self._bytes > self._max_scan_bytes:
            raise ScanTooLarge(f"The scan is larger than {self._max_scan_bytes} bytes.")
        self._sha256.update(block)
        self._stream.feed(block)

    def finish(self) -> Inspection:
        """Say what was learned, after the last block.

        Raises:
            UnsupportedMedia: This is not a NIfTI volume, nor a gzip of one.
            BadScan: The scan is empty, truncated, or holds a single value throughout.

        """
        header = self._stream.finish()
        self._range.check(header)
        return Inspection(header, self._sha256.hexdigest(), self._bytes, bool(self.gzipped))

    def _see(self, header: VolumeHeader, voxels: memoryview) -> None:
        self._range.see(header, voxels)


def read_volume(file: IO[bytes], *, max_voxels: int) -> Volume:
    """Read a whole scan, gzipped or not; takes the volume's size and a few MiB of memory.

    Raises:
        UnsupportedMedia: This is not a NIfTI volume, nor a gzip of one.
        ScanTooLarge: The volume has more than ``max_voxels`` voxels.
        BadScan: The volume cannot be used, is truncated, or its gzip is damaged.

    """
    room: list[NDArray[np.uint8]] = []
    filled = 0

    def keep(header: VolumeHeader, voxels: memoryview) -> None:
        nonlocal filled
        if not room:
            room.append(np.empty(header.data_bytes, dtype=np.uint8))
        room[0][filled : filled + len(voxels)] = np.frombuffer(voxels, dtype=np.uint8)
        filled += len(voxels)

    stream = _ScanStream(max_voxels, keep)
    while block := file.read(PIECE_BYTES):
        stream.feed(block)
    header = stream.finish()
    data = room[0].view(header.dtype)
    if not data.dtype.isnative:
        data = data.byteswap(inplace=True).view(data.dtype.newbyteorder())
    return Volume(header, data.reshape(header.shape, order="F"))


def mask_bytes(mask: NDArray[np.uint8], header: VolumeHeader) -> bytes:
    """Return ``mask``, uint8 (x, y, z), as a ``.nii.gz`` in the grid of the scan with ``header``.

    Axes, affine codes, voxel sizes and units are the scan's own; its text is left behind. A
    Fortran-ordered mask is written fastest.

    Raises:
        ValueError: The mask's shape is not the scan's.

    """
    if mask.shape != header.shape:
        raise ValueError(f"a mask of shape {mask.shape} for a scan of shape {header.shape}")
    scan = header.nifti()
    nifti = type(scan)(endianness="<", check=False)
    for name in _GEOMETRY_FIELDS:
        nifti[name] = scan[name]
    nifti["datatype"], nifti["bitpix"] = _UINT8_CODE, 8
    nifti["scl_slope"], nifti["scl_inter"] = 1, 0
    head = bytes(nifti.binaryblock) + bytes(4)
    nifti["vox_offset"] = len(head)
    head = bytes(nifti.binaryblock) + bytes(4)
    voxels = np.asarray(mask, dtype=np.uint8).tobytes(order="F")
    return igzip.compress(head + voxels, compresslevel=1, mtime=0)


class _ScanStream:
    """Tells gzip from NIfTI, unpacks, and splits what comes out into header and voxels."""

    def __init__(
        self,
        max_voxels: int,
        on_voxels: Callable[[VolumeHeader, memoryview], None],
        on_decompressed: Callable[[VolumeHeader, bytes], None] | None = None,
    ) -> None:
        self.header: VolumeHeader | None = None
        self.gzipped: bool | None = None
        self._max_voxels = max_voxels
        self._on_voxels = on_voxels
        self._on_decompressed = on_decompressed
        self._unpacker = GzipUnpacker()
        self._first = b""
        self._prefix = bytearray()
        self._skip_bytes = 0
        self._due_bytes = 0

    def feed(self, block: bytes) -> None:
        if self.gzipped is None:
            block = self._first + block
            if len(block) < len(GZIP_MAGIC):
                self._first = block
                return
            self.gzipped = block.startswith(GZIP_MAGIC)
        if self.gzipped:
            for piece in self._unpacker.feed(block):
                self._take(piece)
        else:
            self._take(block)

    def finish(self) -> VolumeHeader:
        if self.gzipped is None:
            if not self._first:
                raise BadScan("The scan is empty: it has no bytes at all.")
            self._take(self._first)
        if self.gzipped:
            self._unpacker.finish()
            if self.header is None and not self._prefix:
                raise BadScan("The scan is empty: its gzip holds no bytes.")
        if self.header is None and len(self._prefix) < 4:
            raise UnsupportedMedia("This is neither a NIfTI volume nor a gzip of one.")
        if self.header is None:
            raise BadScan("The scan is truncated: it ends within its header.")
        if self._skip_bytes or self._due_bytes:
            raise BadScan(
                "The scan is truncated: it holds fewer voxels than its header promises "
                f"({self._skip_bytes + self._due_bytes} bytes are missing)."
            )
        return self.header

    def _take(self, piece: bytes) -> None:
        """Take unpacked bytes: first the header's, then what lies before the voxels, then they."""
        if self.header is None:
            self._prefix += piece
            self.header = VolumeHeader.parse(bytes(self._prefix), max_voxels=self._max_voxels)
            if self.header is None:
                return
            piece = bytes(self._prefix)
            self._prefix.clear()
            self._skip_bytes = self.header.vox_offset
            self._due_bytes = self.header.data_bytes
        skipped = min(self._skip_bytes, len(piece))
        self._skip_bytes -= skipped
        voxels = memoryview(piece)[skipped:]
        if len(voxels) > self._due_bytes:
            raise BadScan("The scan holds more than its header promises.")
        self._due_bytes -= len(voxels)
        if self.gzipped and self._on_decompressed:
            self._on_decompressed(self.header, piece)
        if voxels:
            self._on_voxels(self.header, voxels)


class _ValueRange:
    """The least and the largest stored value, from bytes that may be cut within a voxel."""

    def __init__(self) -> None:
        self._low: float = math.inf
        self._high: float = -math.inf
        self._part = b""

    def see(self, header: VolumeHeader, voxels: memoryview) -> None:
        size = header.dtype.itemsize
        if self._part:
            missing = size - len(self._part)
            head, voxels = bytes(voxels[:missing]), voxels[missing:]
            self._part += head
            if len(self._part) < size:
                return
            self._widen(np.frombuffer(self._part, dtype=header.dtype))
        whole = len(voxels) - len(voxels) % size
        self._part = bytes(voxels[whole:])
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
