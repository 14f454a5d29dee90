"""What every kind of nonsense is made from: grids in millimetres, ellipsoids, noise."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray
from scipy import ndimage

Volume = NDArray[np.float32]
Affine = NDArray[np.float64]
Rng = np.random.Generator


@dataclass(frozen=True)
class Scan:
    """Voxels ``[I, J, K]`` of any numeric type, and their 4x4 affine to RAS+ millimetres."""

    data: NDArray[np.generic]
    affine: Affine


def read(path: Path) -> Scan:
    """Return a NIfTI file's voxels and affine."""
    image = Nifti1Image.from_filename(path)
    return Scan(np.asarray(image.dataobj), np.asarray(image.affine, dtype=np.float64))


#: Draws one scan of a kind.
Kind = Callable[[Rng], Scan]


def scan(data: NDArray[np.generic], voxel_mm: float | tuple[float, float, float] = 1.0) -> Scan:
    """Return ``data`` centred on the world's origin, its axes along the world's."""
    affine = np.diag([*np.broadcast_to(voxel_mm, 3), 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(data.shape) - 1) / 2)
    return Scan(data, affine)


def points_mm(shape: tuple[int, ...], voxel_mm: float | tuple[float, float, float]) -> Volume:
    """Return millimetres from the centre, ``[3, I, J, K]``."""
    steps = np.broadcast_to(voxel_mm, 3)
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(shape, steps, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)


def radius(
    points: Volume, half_axes: tuple[float, ...], centre: tuple[float, float, float] = (0, 0, 0)
) -> Volume:
    """Return how far each point is from an ellipsoid's centre; 1 is its surface."""
    away = points - np.array(centre, dtype=np.float32).reshape(3, 1, 1, 1)
    scaled = away / np.array(half_axes, dtype=np.float32).reshape(3, 1, 1, 1)
    return np.asarray(np.sqrt((scaled**2).sum(axis=0)), dtype=np.float32)


def rician(rng: Rng, image: NDArray[Any], sigma: float) -> Volume:
    """Return ``image`` with a magnitude image's noise."""
    real = image + rng.normal(0, sigma, image.shape)
    return np.hypot(real, rng.normal(0, sigma, image.shape)).astype(np.float32)


def smooth_noise(rng: Rng, shape: tuple[int, ...], sigma_voxels: float) -> Volume:
    """Return noise of unit variance that is smooth over some voxels."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma_voxels)
    return np.asarray(noise / noise.std(), dtype=np.float32)
