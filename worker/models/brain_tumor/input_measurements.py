"""What a scan shows at a glance: its extent, its brightness and the shape of what is in it.

Everything is measured on a few thousand voxels, so that it costs a few milliseconds a scan.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from worker.volume.preprocess import Background, background_of
from worker.volume.resample import Affine, Volume

#: Voxels along each axis that are measured, at most; and that are compared with the next one.
_SURVEY = 48
_PAIRS = 20
#: A plane belongs to the object's box where the object fills so much of it.
_PLANE_SHARE = 0.02
#: The shape is measured on voxels of the network's grid that are about so far apart.
_STEP_MM = 8.0
_LEAST_VOXELS = 64
_STEPS_OF_BRIGHTNESS = 128


@dataclass(frozen=True)
class Brightness:
    """How bright the object is, which is all that stands out from the background.

    Attributes:
        share: The object's share of the scan's voxels.
        background: The background's brightness.
        percentiles: The object's 10th, 25th, 50th, 75th and 90th percentile.
        darker: The share of the object that is darker than the background.
        distinct: How many different values the measured voxels have.
        commonest: The share of the object that the 4 commonest of 128 steps of brightness hold.
        lowest: The object's lowest value.
        highest: Its highest value.
        at_highest: The share of the object that is as bright as that, within 2 %.
        repeated: Along each axis, the share of the object that equals the next voxel.
    """

    share: float
    background: float
    percentiles: tuple[float, ...]
    darker: float
    distinct: int
    commonest: float
    lowest: float
    highest: float
    at_highest: float
    repeated: tuple[float, ...]


@dataclass(frozen=True)
class Shape:
    """The object's largest piece on the network's grid, with its holes filled.

    Attributes:
        volume_ml: Its volume.
        largest: Its share of the object's volume, before the holes were filled.
        filled: How much of it is no hole.
        ellipsoid: Its volume, as a share of the ellipsoid that fits in its bounding box.
        symmetry: The share of it that lies within its own mirror image, left to right.
        likeness: Along each world axis, how places 4 mm apart correlate inside of it; empty where
            it is too thin to tell.
    """

    volume_ml: float
    largest: float
    filled: float
    ellipsoid: float
    symmetry: float
    likeness: tuple[float, ...]


@dataclass(frozen=True)
class Measurements:
    """A scan's measurements.

    Attributes:
        slices: Voxels along its shortest axis.
        extent_mm: Its size along its own axes.
        box_mm: The object's size along its own axes, shortest first.
        width_mm: The object's size from left to right.
        brightness: None where no object stands out from the background.
        shape: None where the network's grid shows no object.
    """

    slices: int
    extent_mm: tuple[float, ...]
    box_mm: tuple[float, ...]
    width_mm: float
    brightness: Brightness | None
    shape: Shape | None


def measure(
    data: NDArray[np.generic], affine: Affine, prepared: Volume, spacing_mm: float
) -> Measurements:
    """Return the measurements of a scan.

    Args:
        data: The scan, ``[I, J, K]``, all finite.
        affine: 4x4, from its voxels to RAS+ millimetres.
        prepared: The scan on the network's grid: normalised, and along the world's axes.
        spacing_mm: That grid's voxel edge.
    """
    voxel_mm = np.linalg.norm(affine[:3, :3], axis=0)
    strides = _strides(data.shape, _SURVEY)
    survey = _thinned(data, strides)
    background = background_of(survey)
    inside = _stands_out(survey, background)
    box_mm = _box_voxels(inside) * strides * voxel_mm
    left_to_right = int(np.abs(affine[0, :3] / voxel_mm).argmax())
    return Measurements(
        slices=min(data.shape),
        extent_mm=tuple((np.array(data.shape) * voxel_mm).tolist()),
        box_mm=tuple(sorted(box_mm.tolist())),
        width_mm=float(box_mm[left_to_right]),
        brightness=_brightness(data, survey[inside], background, survey.size),
        shape=_shape(prepared, spacing_mm),
    )


def _strides(shape: tuple[int, ...], most: int) -> NDArray[np.intp]:
    return np.array([-(-n // most) for n in shape])


def _thinned(data: NDArray[np.generic], strides: NDArray[np.intp]) -> Volume:
    every = tuple(slice(None, None, int(stride)) for stride in strides)
    return np.asarray(data[every], dtype=np.float32)


def _stands_out(volume: Volume, background: Background) -> NDArray[np.bool_]:
    return np.asarray(np.abs(volume - background.level) > background.tolerance)


def _box_voxels(inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return how many planes along each axis the object takes, from its first to its last."""
    sizes = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        planes = np.flatnonzero(inside.mean(axis=others) > _PLANE_SHARE)
        sizes.append(float(planes[-1] - planes[0] + 1) if planes.size else 0.0)
    return np.array(sizes)


def _brightness(
    data: NDArray[np.generic], values: Volume, background: Background, voxels: int
) -> Brightness | None:
    if values.size < _LEAST_VOXELS:
        return None
    highest = float(values.max())
    low, *percentiles, high = np.percentile(values, [1, 10, 25, 50, 75, 90, 99]).tolist()
    return Brightness(
        share=values.size / voxels,
        background=background.level,
        percentiles=tuple(percentiles),
        darker=np.count_nonzero(values < background.level) / values.size,
        distinct=np.unique(values).size,
        commonest=_commonest(values, low, high),
        lowest=float(values.min()),
        highest=highest,
        at_highest=float(np.mean(values >= highest - 0.02 * (highest - background.level))),
        repeated=_repeated(data, background),
    )


def _commonest(values: Volume, low: float, high: float) -> float:
    if high <= low:
        return 1.0
    steps = ((values - low) * ((_STEPS_OF_BRIGHTNESS - 1) / (high - low))).astype(np.intp)
    counts = np.bincount(np.clip(steps, 0, _STEPS_OF_BRIGHTNESS - 1))
    return float(np.sort(counts)[-4:].sum()) / values.size


def _repeated(data: NDArray[np.generic], background: Background) -> tuple[float, ...]:
    shares = []
    for axis in range(3):
        planes = np.moveaxis(data, axis, 0)
        strides = _strides(planes.shape, _PAIRS)
        first, second = (_thinned(part, strides) for part in (planes[:-1], planes[1:]))
        inside = _stands_out(first, background)
        if inside.any():
            shares.append(float((first == second)[inside].mean()))
    return tuple(shares)


def _shape(prepared: Volume, spacing_mm: float) -> Shape | None:
    """Measure what differs from the grid's corners, where a normalised scan shows no head."""
    step = max(1, round(_STEP_MM / spacing_mm))
    half = step // 2
    coarse = prepared[half::step, half::step, half::step]
    ends = prepared[:: prepared.shape[0] - 1, :: prepared.shape[1] - 1, :: prepared.shape[2] - 1]
    inside = coarse != np.median(ends)
    pieces, _ = ndimage.label(inside)
    sizes = np.bincount(pieces.ravel())[1:]
    if not sizes.size or sizes.max() < _LEAST_VOXELS:
        return None
    piece = pieces == sizes.argmax() + 1
    whole = _without_holes(piece)
    box = whole[ndimage.find_objects(whole.astype(np.int8))[0]]
    voxels = np.count_nonzero(whole)
    return Shape(
        volume_ml=voxels * (step * spacing_mm) ** 3 / 1000,
        largest=float(sizes.max() / sizes.sum()),
        filled=np.count_nonzero(piece & whole) / voxels,
        ellipsoid=voxels / (np.pi / 6 * box.size),
        symmetry=np.count_nonzero(box & box[::-1]) / voxels,
        likeness=_likeness(prepared, coarse, whole, step),
    )


def _without_holes(piece: NDArray[np.bool_]) -> NDArray[np.bool_]:
    room = np.pad(piece, 2)
    filled = ndimage.binary_fill_holes(ndimage.binary_closing(room))
    return np.asarray(filled[2:-2, 2:-2, 2:-2], dtype=np.bool_)


def _likeness(
    prepared: Volume, coarse: Volume, whole: NDArray[np.bool_], step: int
) -> tuple[float, ...]:
    """Correlate ``coarse``, every ``step``-th voxel, with those half a step before it."""
    inner = ndimage.binary_erosion(whole)
    if np.count_nonzero(inner) < _LEAST_VOXELS:
        return ()
    values = coarse[inner]
    correlations = []
    for axis in range(3):
        starts = [step // 2] * 3
        starts[axis] = 0
        shifted = prepared[tuple(slice(start, None, step) for start in starts)]
        others = shifted[tuple(slice(n) for n in coarse.shape)][inner]
        deviations = float(values.std()) * float(others.std())
        covariance = float(np.mean((values - values.mean()) * (others - others.mean())))
        correlations.append(covariance / deviations if deviations > 1e-6 else 1.0)
    return tuple(correlations)
