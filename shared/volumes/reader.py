"""Reads a whole scan into memory, in its stored type or as float32 intensities."""

from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from shared.volumes.gzip_stream import PIECE_BYTES
from shared.volumes.nifti_header import VolumeHeader
from shared.volumes.nifti_stream import NiftiStream


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


def read_volume(file: IO[bytes], *, max_voxels: int) -> Volume:
    """Read a whole scan, gzipped or not; needs the volume's size and a few MiB of memory.

    Raises:
        UnsupportedMedia: This is not a NIfTI volume, nor a gzip of one.
        ScanTooLarge: The volume has more than ``max_voxels`` voxels.
        BadScan: The volume cannot be used, is truncated, or its gzip is damaged.

    """
    stream = NiftiStream(max_voxels)
    stored = np.empty(0, dtype=np.uint8)
    filled = 0
    while block := file.read(PIECE_BYTES):
        for piece in stream.feed(block):
            if not stored.size:
                stored = np.empty(piece.header.data_bytes, dtype=np.uint8)
            end = filled + len(piece.voxels)
            stored[filled:end] = np.frombuffer(piece.voxels, dtype=np.uint8)
            filled = end
    header = stream.finish()
    data: NDArray[Any] = stored.view(header.dtype)
    if not data.dtype.isnative:
        data = data.byteswap(inplace=True).view(data.dtype.newbyteorder())
    return Volume(header, data.reshape(header.shape, order="F"))
