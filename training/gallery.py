"""Pictures of masks on scans, as radiologists view them: axial slices, seen from below."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import nibabel as nib
import numpy as np
from numpy.typing import NDArray

mpl.use("Agg")

from matplotlib import pyplot as plt

_SLICES = 6

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Panel:
    """A scan ``[I, J, K]``, its 4x4 affine, an expert's mask and the network's."""

    name: str
    data: NDArray[np.float32]
    affine: NDArray[np.float64]
    truth: Mask
    predicted: Mask


def picture_masks(panels: Sequence[Panel], path: Path) -> None:
    """Draw a row of slices for each panel: the expert in green, the network in red."""
    figure, axes = plt.subplots(
        len(panels), _SLICES, figsize=(2.4 * _SLICES, 2.7 * len(panels)), squeeze=False
    )
    for row, panel in zip(axes, panels, strict=True):
        turn = nib.io_orientation(panel.affine)
        scan, truth, predicted = (
            nib.apply_orientation(volume, turn)
            for volume in (panel.data, panel.truth, panel.predicted)
        )
        low, high = np.percentile(scan[scan != scan[0, 0, 0]], [1, 99.8])
        for axis, level in zip(row, _levels(scan, truth | predicted), strict=True):
            axis.imshow(_upright(scan[:, :, level]), cmap="gray", vmin=low, vmax=high)
            for mask, colour in ((truth, "lime"), (predicted, "red")):
                if mask[:, :, level].any():
                    axis.contour(_upright(mask[:, :, level]), [0.5], colors=colour, linewidths=1)
            axis.set_axis_off()
        row[0].set_title(panel.name, loc="left", fontsize=10)
    figure.tight_layout(pad=0.3)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _levels(scan: NDArray[np.float32], outlined: Mask) -> NDArray[np.intp]:
    """Return slices spread over the outlined part, or over the middle of the head."""
    levels = np.flatnonzero(outlined.any(axis=(0, 1)))
    if levels.size:
        low, high = levels[0], levels[-1]
    else:
        low, high = scan.shape[2] // 3, scan.shape[2] * 3 // 4
    return np.linspace(low, high, _SLICES + 2)[1:-1].round().astype(np.intp)


def _upright(plane: NDArray[np.generic]) -> NDArray[np.generic]:
    """Turn a RAS+ slice so that the face is at the top and the left side on the right."""
    return plane.T[::-1, ::-1]
