"""Volumes read from accepted scans."""

import io

import nibabel
import numpy as np
import pytest

from shared.errors import ScanTooLarge
from shared.volumes.reader import read_volume
from tests.support.scans import MAX_VOXELS, Endianness, gz, nifti, voxels


@pytest.mark.parametrize("gzipped", [False, True])
def test_reading_bounds_itself(gzipped: bool) -> None:
    """Reading refuses as inspecting does, before it allocates the volume."""
    content = nifti(version=2, dim=[3, 60_000, 60_000, 60_000, 1, 1, 1, 1])
    with pytest.raises(ScanTooLarge):
        read_volume(io.BytesIO(gz(content) if gzipped else content), max_voxels=MAX_VOXELS)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("endianness", ["<", ">"])
def test_scaled_intensities(dtype: str, endianness: Endianness) -> None:
    """Slope and intercept are applied as nibabel applies them, whatever the stored type."""
    content = nifti(voxels(dtype=dtype), endianness=endianness, scl_slope=0.25, scl_inter=-3)
    volume = read_volume(io.BytesIO(gz(content)), max_voxels=MAX_VOXELS)
    expected = nibabel.Nifti1Image.from_bytes(content).get_fdata()
    assert volume.data.dtype == np.dtype(dtype)
    assert volume.data.flags.f_contiguous
    assert volume.scaled().dtype == np.float32
    assert np.array_equal(volume.scaled(), expected.astype(np.float32))
