"""The volume of a voxel, and grids that count as equal."""

import numpy as np
import pytest

from shared.volumes.geometry import SAME_GRID_MM, cubic_voxel_ml, is_same_grid, voxel_volume_ml

SHAPE = (8, 9, 10)
OBLIQUE = np.array(
    [[-1.2, 0.4, 0.0, 50.0], [0.4, 1.2, 0.0, -60.0], [0.0, 0.0, 3.0, 12.0], [0.0, 0.0, 0.0, 1.0]]
)


def test_a_voxels_volume_does_not_depend_on_its_orientation() -> None:
    """A rotated or mirrored voxel has the volume of its edges' product."""
    edges_mm = np.linalg.norm(OBLIQUE[:3, :3], axis=0)
    assert voxel_volume_ml(OBLIQUE) == pytest.approx(edges_mm.prod() / 1000)
    assert voxel_volume_ml(np.diag([-2.0, 2.0, 2.0, 1.0])) == pytest.approx(cubic_voxel_ml(2.0))


@pytest.mark.parametrize(
    ("shift_mm", "same"), [(0, True), (0.9 * SAME_GRID_MM, True), (1.1 * SAME_GRID_MM, False)]
)
def test_grids_are_the_same_up_to_rounding(shift_mm: float, same: bool) -> None:
    """Two grids are the same if every entry of their affines differs by the tolerance at most."""
    other = OBLIQUE.copy()
    other[1, 3] += shift_mm
    assert is_same_grid(SHAPE, OBLIQUE, SHAPE, other) is same


def test_grids_of_other_shapes_or_broken_affines_are_not_the_same() -> None:
    """Another shape, or an affine that is not finite, makes another grid."""
    assert not is_same_grid(SHAPE, OBLIQUE, (8, 9, 11), OBLIQUE)
    assert not is_same_grid(SHAPE, OBLIQUE, SHAPE, np.full((4, 4), np.nan))
