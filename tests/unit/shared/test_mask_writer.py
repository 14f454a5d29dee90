"""Masks written in the grid of their scan."""

import gzip
from typing import Any

import nibabel
import numpy as np
import pytest

from shared.volumes.mask_writer import mask_bytes
from tests.support.scans import header_of, inspect, nifti, voxels


@pytest.mark.parametrize("version", [1, 2])
def test_a_mask_is_in_the_scans_grid(version: int) -> None:
    """A mask has its scan's axes, affines, codes and units, and none of its text."""
    scan = nifti(
        voxels((8, 9, 10, 1)),
        version=version,
        xyzt_units=10,
        descrip=b"Jane Doe",
        aux_file=b"doe.txt",
        intent_name=b"Jane",
        extension=b"\x20\0\0\0\6\0\0\0Jane Doe, born 1970     ",
    )
    labels = (voxels((8, 9, 10)) > 50).astype(np.uint8)
    packed = mask_bytes(labels, header_of(scan))
    plain = gzip.decompress(packed)
    make: Any = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
    mask, original = make.from_bytes(plain), make.from_bytes(scan)
    assert mask.shape == (8, 9, 10, 1)
    assert np.array_equal(np.asarray(mask.dataobj)[..., 0], labels)
    assert mask.get_data_dtype() == np.uint8
    assert np.array_equal(mask.affine, original.affine)
    for name in ("dim", "pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "srow_z"):
        assert np.array_equal(mask.header[name], original.header[name])
    assert b"Jane" not in plain
    assert b"doe" not in plain
    assert inspect(packed).header.shape == (8, 9, 10)


def test_a_mask_of_another_shape_is_refused() -> None:
    """A mask of another shape than its scan is a ValueError."""
    with pytest.raises(ValueError, match="shape"):
        mask_bytes(np.zeros((2, 3, 4), np.uint8), header_of(nifti()))
