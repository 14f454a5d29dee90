"""What an affine, 4x4 from voxel indices to RAS+ millimetres, says about a grid."""

import numpy as np
from numpy.typing import ArrayLike

#: Affines that differ by less than this, in mm or mm per voxel, are of the same grid.
_SAME_MM = 1e-3


def voxel_ml(affine: ArrayLike) -> float:
    """Return the volume of a voxel in millilitres."""
    linear = np.asarray(affine, dtype=np.float64)[:3, :3]
    return float(abs(np.linalg.det(linear))) / 1000


def is_same_grid(
    shape: tuple[int, ...],
    affine: ArrayLike,
    other_shape: tuple[int, ...],
    other_affine: ArrayLike,
) -> bool:
    """Tell whether two volumes have their voxels at the same places.

    Args:
        shape: Voxels along each axis of one volume.
        affine: Its affine.
        other_shape: Voxels along each axis of the other volume.
        other_affine: Its affine.
    """
    same_places = np.allclose(other_affine, affine, rtol=0, atol=_SAME_MM)
    return shape == other_shape and bool(same_places)
