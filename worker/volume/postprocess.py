"""From the network's probabilities back to the scan's grid: mask and statistics.

The probabilities are resampled linearly and then thresholded, never the mask resampled, so that the
mask's outline is as smooth as the scan's grid allows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from shared.bundles.model_card import ModelLabel
from shared.results import LabelStats, ScanWarning
from shared.volumes.geometry import cubic_voxel_ml, voxel_volume_ml
from worker.volume.preprocess import Frame
from worker.volume.resample import Affine, Volume, sample_affine

Mask = NDArray[np.uint8]

_MAX_ABSENT_PROBABILITY = 0.499


@dataclass(frozen=True)
class MaskRules:
    """What is tumour: the least probability, and the least volume of a connected component."""

    threshold: float
    min_component_ml: float


@dataclass(frozen=True)
class Segmentation:
    """The result for one scan, in its own grid; the mask is empty exactly when not ``present``."""

    mask: Mask
    present: bool
    probability: float
    labels: list[LabelStats]
    warnings: tuple[ScanWarning, ...] = ()


def empty_segmentation(mask: Mask, probability: float) -> Segmentation:
    """Return the result for a scan in which nothing is present.

    Args:
        mask: Gives the shape of the empty mask.
        probability: That a label is present; limited to below one half, which means present.
    """
    return Segmentation(np.zeros_like(mask), False, min(probability, _MAX_ABSENT_PROBABILITY), [])


def to_scan_grid(probability: Volume, frame: Frame, rules: MaskRules) -> Mask:
    """Return the mask (1 is tumour) in the scan's shape.

    Args:
        probability: ``[D, H, W]`` on the network's grid, 0 to 1.
        frame: Where the scan is in the grid.
        rules: The model's threshold and smallest component.
    """
    mask = np.zeros(frame.scan_shape, dtype=np.uint8, order="F")  # as NIfTI stores it
    kept = keep_components(probability, rules, frame.grid.spacing_mm)
    if not kept.any():
        return mask
    low, high = _box(kept)
    low, high = np.maximum(low - 2, 0), np.minimum(high + 3, kept.shape)
    inside = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    near = ndimage.binary_dilation(kept[inside], iterations=2)
    source = np.where(near, probability[inside], 0).astype(np.float32)
    scan_low, scan_high = _scan_range(frame, low, high)
    if np.any(scan_high <= scan_low):
        return mask
    scan_to_grid = np.asarray(np.linalg.inv(frame.grid_to_scan), dtype=np.float64)
    to_source = _shift(-low) @ scan_to_grid @ _shift(scan_low)
    drawn = sample_affine(source, tuple(scan_high - scan_low), to_source)
    target = tuple(slice(a, b) for a, b in zip(scan_low, scan_high, strict=True))
    np.greater(drawn, rules.threshold, out=mask[target].view(bool))
    return mask


def keep_components(probability: Volume, rules: MaskRules, spacing_mm: float) -> NDArray[np.bool_]:
    """Return where the probability exceeds the threshold in large enough components."""
    above = probability > rules.threshold
    if not above.any():
        return above
    low, high = _box(above)
    inside = tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))
    pieces, _ = ndimage.label(above[inside])
    sizes_ml = np.bincount(pieces.ravel()) * cubic_voxel_ml(spacing_mm)
    sizes_ml[0] = 0
    large = sizes_ml >= max(rules.min_component_ml, 1e-9)
    above[inside] = large[pieces]
    return above


def label_statistics(mask: Mask, affine: Affine, labels: Sequence[ModelLabel]) -> list[LabelStats]:
    """Measure every label in the mask.

    Args:
        mask: ``[I, J, K]`` of label values.
        affine: 4x4, from voxel indices to RAS+ millimetres.
        labels: The values to measure and their names.
    """
    voxel_ml = voxel_volume_ml(affine)
    measured = []
    for label in labels:
        inside = mask == label.value
        if not inside.any():
            continue
        low, high = _box(inside)
        cropped = inside[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))]
        voxels = int(np.count_nonzero(cropped))
        centroid = affine[:3, :3] @ (_mean_index(cropped) + low) + affine[:3, 3]
        measured.append(
            LabelStats(
                value=label.value,
                name=label.name,
                voxels=voxels,
                volume_ml=voxels * voxel_ml,
                centroid_mm=(float(centroid[0]), float(centroid[1]), float(centroid[2])),
                bounding_box=(_triple(low), _triple(high)),
            )
        )
    return measured


def _mean_index(inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    means = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        counts = np.count_nonzero(inside, axis=others)
        means.append(float(counts @ np.arange(len(counts)) / counts.sum()))
    return np.array(means)


def _box(inside: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the lowest and highest index per axis, both inclusive, of a mask that is not empty."""
    # One pass over the volume; the other axes are found from its projections.
    front = np.asarray(inside.any(axis=2))
    spans = [np.asarray(front.any(axis=other)) for other in (1, 0)]
    i_low, i_high = np.flatnonzero(spans[0])[[0, -1]]
    spans.append(np.asarray(inside[i_low : i_high + 1].any(axis=(0, 1))))
    ends = [np.flatnonzero(span)[[0, -1]] for span in spans]
    return np.array([end[0] for end in ends]), np.array([end[1] for end in ends])


def _scan_range(
    frame: Frame, low: NDArray[np.intp], high: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    ends = list(zip(low - 1, high, strict=True))
    corners = np.array([[*corner, 1] for corner in product(*ends)]) @ frame.grid_to_scan[:3].T
    scan_low = np.clip(np.floor(corners.min(axis=0)), 0, frame.scan_shape)
    scan_high = np.clip(np.ceil(corners.max(axis=0)) + 1, 0, frame.scan_shape)
    return scan_low.astype(np.intp), scan_high.astype(np.intp)


def _shift(offset: NDArray[np.intp]) -> Affine:
    matrix = np.eye(4)
    matrix[:3, 3] = offset
    return matrix


def _triple(values: NDArray[np.intp]) -> tuple[int, int, int]:
    return int(values[0]), int(values[1]), int(values[2])
