"""What several packages need to know of voxel grids: a voxel's volume, and equality."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Affines that differ by no more than this, in mm or mm per voxel, describe the same grid: headers
#: hold rounded floats.
SAME_GRID_MM = 1e-3


def voxel_volume_ml(affine: NDArray[Any]) -> float:
    """Return the volume of one voxel in millilitres, from the 4x4 affine to millimetres."""
    return float(abs(np.linalg.det(affine[:3, :3]))) / 1000


def cubic_voxel_ml(edge_mm: float) -> float:
    """Return the volume in millilitres of a cubic voxel with edges of this length."""
    return edge_mm**3 / 1000


def affine_difference_mm(affine: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the largest difference between the entries of two affines."""
    return float(np.abs(affine - other).max())


def is_same_grid(
    shape: Sequence[int],
    affine: NDArray[Any],
    other_shape: Sequence[int],
    other_affine: NDArray[Any],
) -> bool:
    """Return whether two grids have the same shape and, up to rounding, the same affine."""
    return (
        tuple(shape) == tuple(other_shape)
        and affine_difference_mm(affine, other_affine) <= SAME_GRID_MM
    )
