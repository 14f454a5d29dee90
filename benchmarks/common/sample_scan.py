"""The scan that is measured: the head of the sample scan, in a usual matrix and with noise."""

import nibabel
import numpy as np
from isal import igzip
from nibabel.nifti1 import Nifti1Image
from scipy import ndimage

from shared.sample import SAMPLE_SCAN

#: Standard deviation of the noise, as a share of the brightest voxel. With it the scan compresses
#: as badly as a real one.
NOISE = 0.01
#: The scan of a full measurement, and of a quick one.
FULL_SHAPE, QUICK_SHAPE = (256, 256, 128), (64, 64, 32)


def sample_scan(shape: tuple[int, int, int]) -> bytes:
    """Return the sample scan, with its lesion, as an int16 ``.nii.gz`` of ``shape`` voxels.

    The head fills the volume as it does in the sample, so the voxel size follows from the shape.
    """
    sample = nibabel.Nifti1Image.from_filename(SAMPLE_SCAN)
    voxels = np.asarray(sample.dataobj, dtype=np.float32)
    factors = np.array(shape) / voxels.shape
    head = ndimage.zoom(voxels, factors, order=1, mode="nearest", grid_mode=True)
    noise = np.random.default_rng(0).normal(scale=NOISE * float(voxels.max()), size=shape)
    noisy = np.where(head > 0, np.abs(head + noise), 0).round().astype(np.int16)
    to_sample = np.diag([*(1 / factors), 1.0])
    to_sample[:3, 3] = (1 / factors - 1) / 2
    image = Nifti1Image(noisy, sample.affine @ to_sample)
    return igzip.compress(image.to_bytes(), compresslevel=1, mtime=0)
