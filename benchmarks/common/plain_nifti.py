"""NIfTI files without a library, for tools that must not import one."""

import struct

Shape = tuple[int, int, int]
HEADER_BYTES = 348


def plain_nifti(shape: Shape, voxels: bytes, *, voxel_mm: float = 1.0) -> bytes:
    """Return a NIfTI-1 file of int16 voxels, given in Fortran order, on an axis-aligned grid."""
    header = bytearray(HEADER_BYTES)
    struct.pack_into("<i", header, 0, HEADER_BYTES)
    struct.pack_into("<8h", header, 40, 3, *shape, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 4, 16)
    struct.pack_into("<8f", header, 76, 1, *[voxel_mm] * 3, 0, 0, 0, 0)
    struct.pack_into("<3f", header, 108, 352, 1, 0)
    struct.pack_into("<2h", header, 252, 0, 1)
    for row in range(3):
        axis = [voxel_mm if column == row else 0.0 for column in range(4)]
        struct.pack_into("<4f", header, 280 + 16 * row, *axis)
    header[344:348] = b"n+1\0"
    return bytes(header) + bytes(4) + voxels
