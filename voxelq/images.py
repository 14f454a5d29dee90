"""Arrays and nibabel images as NIfTI bytes and back; imports nibabel only when it is called."""

import gzip
from types import ModuleType
from typing import TYPE_CHECKING, Any

from voxelq.errors import PackageMissing, UnexpectedAnswer

if TYPE_CHECKING:
    from nibabel import Nifti1Image


def encode_array(array: Any, affine: Any) -> bytes:
    """Return a volume of shape (X, Y, Z) as an uncompressed NIfTI file.

    Whole numbers keep their type; floats travel as float32.

    Raises:
        TypeError: The array holds no real numbers.
        ValueError: The array has not three axes, or the affine is not 4 x 4.
        PackageMissing: nibabel is not installed.
    """
    nibabel = _nibabel()
    import numpy as np

    voxels, matrix = np.asarray(array), np.asarray(affine, np.float64)
    if voxels.ndim != 3:
        raise ValueError(f"The array has {voxels.ndim} axes; a scan has three: (X, Y, Z).")
    if matrix.shape != (4, 4):
        raise ValueError(f"The affine has the shape {matrix.shape}; it must be (4, 4).")
    if voxels.dtype.kind == "f":
        voxels = voxels.astype(np.float32, copy=False)
    elif voxels.dtype.kind == "b":
        voxels = voxels.astype(np.uint8)
    elif voxels.dtype.kind not in "iu":
        raise TypeError(f"An array of {voxels.dtype} is no scan; give real numbers.")
    content: bytes = nibabel.Nifti1Image(voxels, matrix, dtype=voxels.dtype).to_bytes()
    return content


def encode_image(image: Any) -> bytes:
    """Return a nibabel image of any format as an uncompressed NIfTI file.

    Raises:
        PackageMissing: nibabel is not installed.
    """
    nibabel = _nibabel()
    if not isinstance(image, nibabel.Nifti1Image):
        image = nibabel.Nifti1Image.from_image(image)
    content: bytes = image.to_bytes()
    return content


def decode_mask(content: bytes) -> "Nifti1Image":
    """Return a mask, as the service sends it, as a nibabel image.

    Raises:
        PackageMissing: nibabel is not installed.
        UnexpectedAnswer: It is no gzipped NIfTI file.
    """
    nibabel = _nibabel()
    try:
        mask: Nifti1Image = nibabel.Nifti1Image.from_bytes(gzip.decompress(content))
    except Exception as error:  # of a dozen kinds, for gzip and nibabel have their own
        raise UnexpectedAnswer("The service sent a mask that is no gzipped NIfTI file.") from error
    return mask


def _nibabel() -> ModuleType:
    try:
        import nibabel
    except ImportError as error:
        raise PackageMissing from error
    return nibabel
