"""Writes a mask as NIfTI in the grid of its scan, and copies nothing of the scan that is text."""

import numpy as np
from isal import igzip
from numpy.typing import NDArray

from shared.volumes.nifti_header import VolumeHeader

# What a mask keeps of its scan's header: where the voxels are, and no text.
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
