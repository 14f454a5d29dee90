"""NIfTI files for tests, in which every header field can be set, and their inspection."""

import gzip
from typing import Any, Literal

import nibabel
import numpy as np
from numpy.typing import NDArray

from shared.volumes.inspector import Inspection, ScanInspector
from shared.volumes.nifti_header import VolumeHeader

MAX_VOXELS = 512**3

Endianness = Literal["<", ">"]

AFFINE = np.array([[-1.5, 0.1, 0, 90], [0.1, 1.5, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])


def voxels(shape: tuple[int, ...] = (8, 9, 10), dtype: str = "int16") -> NDArray[Any]:
    """Return a volume that is not constant."""
    return (np.arange(np.prod(shape)) % 100).reshape(shape).astype(dtype)


def nifti(
    data: NDArray[Any] | None = None,
    *,
    affine: NDArray[np.float64] | None = None,
    version: int = 1,
    endianness: Endianness = "<",
    body: bytes | None = None,
    extension: bytes = b"",
    **fields: Any,
) -> bytes:
    """Return a single-file NIfTI of ``data``, with header ``fields`` as given.

    ``body`` replaces the bytes of the voxels; ``extension`` is written before them.
    """
    data = voxels() if data is None else data
    make: Any = nibabel.Nifti1Header if version == 1 else nibabel.Nifti2Header
    header = make(endianness=endianness, check=False)
    header.set_data_dtype(data.dtype.newbyteorder("="))
    header.set_data_shape(data.shape)
    header.set_sform(AFFINE if affine is None else affine, code=1)
    header.set_qform(AFFINE if affine is None else np.eye(4), code=1)
    header["magic"] = b"n+1" if version == 1 else b"n+2"
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["vox_offset"] = header.sizeof_hdr + 4 + len(extension)
    for name, value in fields.items():
        header[name] = value
    if body is None:
        body = data.astype(data.dtype.newbyteorder(endianness)).tobytes(order="F")
    flag = b"\1\0\0\0" if extension else bytes(4)
    return bytes(header.binaryblock) + flag + extension + body


def gz(content: bytes, level: int = 1) -> bytes:
    """Compress ``content`` with gzip."""
    return gzip.compress(content, level)


def inspect(
    content: bytes,
    *,
    block: int = 1 << 16,
    max_scan_bytes: int = 1 << 30,
    max_voxels: int = MAX_VOXELS,
) -> Inspection:
    """Stream ``content`` through an inspector."""
    inspector = ScanInspector(max_scan_bytes=max_scan_bytes, max_voxels=max_voxels)
    for start in range(0, len(content), block):
        for _ in inspector.inspect(content[start : start + block]):
            pass
    return inspector.finish()


def header_of(content: bytes) -> VolumeHeader:
    """Return the header of an accepted scan."""
    return inspect(content).header
