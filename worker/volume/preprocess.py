"""From a scan in any orientation and resolution to the network's grid, in one resampling.

The grid is world-aligned (RAS+) and centred on the scan's foreground. A scan's voxel order, voxel
size and obliqueness are in one affine only, which `Frame` keeps for the mask.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from shared.results import ScanWarning
from worker.volume.resample import Affine, Volume, sample_affine

#: Normalised brightness is clipped to this range, in standard deviations.
BRIGHTNESS_RANGE = (-4.0, 8.0)

#: Voxels per axis that are enough to find where the head is.
_SURVEY = 64
_LEAST_FOREGROUND = 64
_STATISTICS_SAMPLE = 50_000


@dataclass(frozen=True)
class Grid:
    """The network's grid: voxels along x, y, z (world-aligned, RAS+) and their edge in mm."""

    shape: tuple[int, int, int]
    spacing_mm: float

    @property
    def extent_mm(self) -> NDArray[np.float64]:
        """Return the grid's size along x, y, z."""
        return np.array(self.shape, dtype=np.float64) * self.spacing_mm


@dataclass(frozen=True)
class Background:
    """The brightness of a scan's background: a level, and how far from it is still background."""

    level: float
    tolerance: float


@dataclass(frozen=True)
class Frame:
    """Where a scan is in the grid.

    ``affine`` maps the scan's voxels to world millimetres, ``grid_to_scan`` the grid's voxels to
    the scan's; both are 4x4.
    """

    grid: Grid
    scan_shape: tuple[int, int, int]
    affine: Affine
    grid_to_scan: Affine


@dataclass(frozen=True)
class Prepared:
    """A normalised volume ``[C, D, H, W]`` (D, H, W along world x, y, z), and its frame.

    ``warnings`` say why a result that is computed from it may mean nothing.
    """

    volume: Volume
    frame: Frame
    warnings: tuple[ScanWarning, ...] = ()


def to_network_grid(data: NDArray[np.generic], affine: Affine, grid: Grid) -> Prepared:
    """Reorient, resample, centre and normalise a scan.

    Args:
        data: ``[I, J, K]``, any numeric type, all finite, slope and intercept applied.
        affine: 4x4, invertible, from voxel indices to RAS+ millimetres.
        grid: The network's grid.

    Raises:
        ValueError: ``data`` is not 3D or is empty, or ``affine`` is singular.
    """
    if data.ndim != 3 or data.size == 0:
        raise ValueError("A scan has three axes and at least one voxel.")
    affine = np.asarray(affine, dtype=np.float64)
    if abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise ValueError("The affine of a scan can be inverted.")
    survey, strides = _survey(data)
    background = background_of(survey)
    frame = _frame(survey, strides, background, data.shape, affine, grid)
    resampled = _resample(data, background.level, frame)
    return Prepared(normalise(resampled, Background(0.0, background.tolerance))[None], frame)


def background_of(volume: Volume) -> Background:
    """Estimate the background from the volume's eight corners.

    If the corners are equal, the background is that one value, even if the value is in the middle
    of the brain's range, as after z-scoring. If they are noisy, it is everything that is not well
    above them.
    """
    corners = _corners(volume)
    level = float(np.median(corners))
    spread = 1.4826 * float(np.median(np.abs(corners - level)))
    low, high = np.percentile(volume[::2, ::2, ::2], [0.5, 99.5])
    reach = float(high - low)
    if spread <= 1e-3 * reach:
        return Background(level, 1e-3 * reach)
    return Background(level, max(4 * spread, 0.1 * reach))


def normalise(volume: Volume, background: Background) -> Volume:
    """Return the volume in standard deviations of its foreground, clipped to `BRIGHTNESS_RANGE`.

    Outside the foreground it is as dark as the darkest tissue. A volume without foreground, or with
    the same value everywhere, becomes zeros.
    """
    foreground = np.abs(volume - background.level) > background.tolerance
    values = volume[foreground]
    if values.size < _LEAST_FOREGROUND:
        return np.zeros_like(volume)
    values = values[:: max(1, values.size // _STATISTICS_SAMPLE)]
    low, high = np.percentile(values, [0.5, 99.5])
    kept = np.clip(values, low, high)
    mean, deviation = float(kept.mean()), float(kept.std())
    if deviation <= 1e-6 * max(abs(mean), 1e-6):
        return np.zeros_like(volume)
    scaled = (volume - np.float32(mean)) / np.float32(deviation)
    np.clip(scaled, *BRIGHTNESS_RANGE, out=scaled)
    scaled[~foreground] = (low - mean) / deviation
    return scaled


def _survey(data: NDArray[np.generic]) -> tuple[Volume, NDArray[np.intp]]:
    strides = np.array([max(1, n // _SURVEY) for n in data.shape])
    thinned = data[tuple(slice(None, None, int(stride)) for stride in strides)]
    return np.asarray(thinned, dtype=np.float32), strides


def _corners(volume: Volume) -> Volume:
    ends = [(slice(None, max(1, n // 12)), slice(-max(1, n // 12), None)) for n in volume.shape]
    return np.concatenate([volume[corner].ravel() for corner in product(*ends)])


def _frame(
    survey: Volume,
    strides: NDArray[np.intp],
    background: Background,
    shape: tuple[int, ...],
    affine: Affine,
    grid: Grid,
) -> Frame:
    low, high = _foreground_box(np.abs(survey - background.level) > background.tolerance)
    box = np.array(list(product(*zip(low * strides, high * strides, strict=True))))
    world = box @ affine[:3, :3].T + affine[:3, 3]
    bottom, top = world.min(axis=0), world.max(axis=0)
    centre = (bottom + top) / 2
    height = grid.extent_mm[2]
    # If a scan extends below the head, the neck is left out, never the top of the head.
    centre[2] = max(centre[2], top[2] - height / 2)
    grid_to_world = np.diag([grid.spacing_mm] * 3 + [1.0])
    grid_to_world[:3, 3] = centre - (np.array(grid.shape) - 1) / 2 * grid.spacing_mm
    grid_to_scan = np.asarray(np.linalg.inv(affine) @ grid_to_world, dtype=np.float64)
    return Frame(grid, (shape[0], shape[1], shape[2]), affine, grid_to_scan)


def _foreground_box(
    foreground: NDArray[np.bool_],
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the lowest and highest index per axis, ignoring planes with little foreground."""
    low, high = np.zeros(3, dtype=np.intp), np.array(foreground.shape) - 1
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        planes = np.flatnonzero(foreground.mean(axis=others) > 0.005)
        if planes.size:
            low[axis], high[axis] = planes[0], planes[-1]
    return low, high


def _resample(data: NDArray[np.generic], level: float, frame: Frame) -> Volume:
    """Sample the scan minus ``level`` at the grid's points; outside the scan it is zero.

    Only the part of the scan within the grid is read. Voxels much finer than the grid's are
    averaged first, as many as fit, so that fine detail does not alias.
    """
    low, high = _scan_box(frame)
    if np.any(high <= low):
        return np.zeros(frame.grid.shape, dtype=np.float32)
    part = data[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    voxel_mm = np.linalg.norm(frame.affine[:3, :3], axis=0)
    factors = np.maximum(1, np.floor(frame.grid.spacing_mm / voxel_mm + 0.25)).astype(int)
    factors = np.minimum(factors, part.shape)
    # NIfTI stores the first axis fastest: with reversed axes, such a volume needs no reordering.
    order = [2, 1, 0] if part.strides[0] < part.strides[2] else [0, 1, 2]
    part, factors, low = part.transpose(order), factors[order], low[order]
    source = np.array(part, dtype=np.float32, order="C")
    source -= level
    to_part = frame.grid_to_scan[[*order, 3]]
    to_part[:3, 3] -= low
    return sample_affine(source, frame.grid.shape, to_part, tuple(factors.tolist()))


def _scan_box(frame: Frame) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the scan's voxel range that the grid covers, with a margin of two voxels."""
    ends = [(0, n - 1) for n in frame.grid.shape]
    corners = np.array([[*corner, 1] for corner in product(*ends)]) @ frame.grid_to_scan[:3].T
    spare = 2 + np.ceil(np.abs(frame.grid_to_scan[:3, :3]).sum(axis=1))
    low = np.clip(np.floor(corners.min(axis=0) - spare), 0, frame.scan_shape)
    high = np.clip(np.ceil(corners.max(axis=0) + spare) + 1, 0, frame.scan_shape)
    return low.astype(np.intp), high.astype(np.intp)
