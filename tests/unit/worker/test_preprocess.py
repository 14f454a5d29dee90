"""Intensities and background in preprocessing."""

import numpy as np
import pytest

from worker.volume.preprocess import BRIGHTNESS_RANGE, Background, Grid, background_of, normalise
from worker.volume.preprocess import to_network_grid as prepare

GRID = Grid((48, 48, 48), 4.0)


def ball(shape: tuple[int, int, int], inside: float, outside: float) -> np.ndarray:
    """A textured ball of a third of the volume's width on a flat background."""
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    distance = np.sqrt(
        sum(((axis - n / 2) / (n / 3)) ** 2 for axis, n in zip(axes, shape, strict=True))
    )
    texture = np.random.default_rng(0).normal(0, 0.1 * abs(inside), shape)
    return np.where(distance < 1, inside + texture, outside).astype(np.float32)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (37.5, 0.0), (0.01, -3.0), (2000, 500)])
def test_units_do_not_matter(scale: float, shift: float) -> None:
    """Scaling and shifting a scan's intensities leaves the network's input as it is."""
    scan = ball((60, 60, 60), 10, 0)
    plain = prepare(scan, np.diag([2.0, 2, 2, 1]), GRID).volume
    changed = prepare(scan * scale + shift, np.diag([2.0, 2, 2, 1]), GRID).volume
    assert np.allclose(plain, changed, atol=0.02)


def test_a_flat_background_inside_the_range_is_still_background() -> None:
    """A flat background whose level is within the brain's values still becomes the lowest value."""
    scan = ball((60, 60, 60), 1, 0)
    scan[scan != 0] -= 1
    volume = prepare(scan, np.diag([2.0, 2, 2, 1]), GRID).volume[0]
    assert volume[0, 0, 0] < np.percentile(volume[volume != volume[0, 0, 0]], 5)


def test_noisy_air_is_background() -> None:
    """If the corners are noisy, only voxels well above their noise are the head."""
    scan = ball((60, 60, 60), 100, 0)
    scan += np.abs(np.random.default_rng(1).normal(0, 2, scan.shape)).astype(np.float32)
    background = background_of(scan)
    foreground = np.abs(scan - background.level) > background.tolerance
    assert foreground[30, 30, 30]
    assert foreground[:4].mean() < 0.01


def test_brightness_is_bounded() -> None:
    """One extreme voxel neither leaves the range nor changes the others."""
    scan = ball((60, 60, 60), 10, 0)
    wild = scan.copy()
    wild[30, 30, 30] = 1e7
    assert normalise(wild, Background(0, 0.01)).max() <= BRIGHTNESS_RANGE[1]
    calm, disturbed = (normalise(volume, Background(0, 0.01)) for volume in (scan, wild))
    assert np.median(np.abs(calm - disturbed)) < 0.01


def test_integers_are_taken_as_they_are() -> None:
    """An int16 scan and its float32 copy give the same input."""
    scan = ball((40, 50, 30), 900, 0).astype(np.int16)
    affine = np.diag([2.0, 2, 3, 1])
    assert np.array_equal(
        prepare(scan, affine, GRID).volume, prepare(scan.astype(np.float32), affine, GRID).volume
    )


def test_the_crown_is_kept_if_a_scan_reaches_below_the_head() -> None:
    """Of a foreground taller than the grid, the upper part is kept."""
    scan = np.zeros((40, 40, 100), dtype=np.float32)
    scan[8:32, 8:32, 2:98] = 5 + np.random.default_rng(0).random((24, 24, 96))
    frame = prepare(scan, np.diag([4.0, 4, 4, 1]), GRID).frame
    top_of_grid = (frame.grid_to_scan @ [24, 24, 47, 1])[2]
    assert 95 < top_of_grid < 100


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4, 2), (0, 4, 4)])
def test_what_is_no_volume_is_refused(shape: tuple[int, ...]) -> None:
    """A scan has three axes and at least one voxel."""
    with pytest.raises(ValueError, match="three axes"):
        prepare(np.zeros(shape, dtype=np.float32), np.eye(4), GRID)


def test_a_singular_affine_is_refused() -> None:
    """A scan whose voxels have no volume cannot be placed."""
    with pytest.raises(ValueError, match="inverted"):
        prepare(np.ones((4, 4, 4), dtype=np.float32), np.diag([1.0, 1, 0, 1]), GRID)
