"""One training sample from one anatomy: warp, contrast, tumour or none, and scanner artefacts.

The method follows SynthSeg (Billot et al. 2023, doi:10.1016/j.media.2023.102789): everything that
the network must not rely on is random. The last step is the normalisation that the worker applies
to a scan.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from training.data import lesions
from training.data.anatomy import TISSUES, Anatomy
from training.data.contrast import draw_contrast, mix
from training.data.heads import add_head
from training.data.lookalikes import add_lookalikes
from training.data.noise import field
from training.data.scanner import scan
from worker.volume.preprocess import Grid

Volume = NDArray[np.float32]

GRID = Grid(shape=(96, 112, 96), spacing_mm=2.0)
#: A tenth of the samples are T1, which show no tumour, so half of all samples show one.
TUMOUR_SHARE = 0.55


@dataclass(frozen=True)
class Sample:
    """A normalised image, its tumour's mask and its brain's (tumour included), all on `GRID`."""

    image: Volume
    mask: NDArray[np.bool_]
    brain: NDArray[np.bool_]


def synthesise(rng: np.random.Generator, anatomies: list[Anatomy]) -> Sample:
    """Draw one sample; about half of them show a tumour."""
    anatomy = anatomies[rng.integers(len(anatomies))]
    points = _grid_points_mm()
    stripped = rng.random() < 0.5
    own_head = not stripped and anatomy.has_head and rng.random() < 0.5
    atlas = _warp(rng, anatomy, points, _centre(rng, anatomy, stripped=stripped, own_head=own_head))
    if rng.random() < 0.35:
        atlas = _resize_ventricles(rng, atlas, points)
    contrast = draw_contrast(rng)
    focus = None
    if contrast.shows_tumours and rng.random() < TUMOUR_SHARE:
        focus = _place(rng, anatomy, atlas, points)
    if focus is not None:
        atlas = _push_away(rng, atlas, points, focus)
    maps = dict(zip(TISSUES, sample_maps(anatomy, atlas), strict=True))
    tissue = tissue_of(maps, atlas, anatomy, points)
    shown = maps if stripped or own_head else add_head(rng, maps, points)
    image = add_lookalikes(rng, mix(rng, contrast, shown), tissue)
    mask = np.zeros(GRID.shape, dtype=bool)
    if focus is not None:
        mask, front = lesions.grow(rng, focus, tissue)
        image = lesions.paint(rng, image, focus, tissue, front)
    scanned = scan(rng, image, maps["brain"], mask, stripped=stripped)
    return Sample(scanned, mask, tissue.brain | mask)


def _grid_points_mm() -> Volume:
    axes = [(np.arange(n, dtype=np.float32) - (n - 1) / 2) * GRID.spacing_mm for n in GRID.shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def tissue_of(
    maps: Mapping[str, Volume], atlas: Volume, anatomy: Anatomy, points_mm: Volume
) -> lesions.Tissue:
    """Return what a lesion grows in: ``maps`` of the tissues drawn at ``atlas``, ``[3, I, J, K]``.

    ``points_mm``, of the same shape, are positions in the scan in millimetres.
    """
    return lesions.Tissue(
        white=maps["white"],
        fluid=maps["fluid"],
        ventricle=maps["ventricle"],
        brain=maps["brain"] > 0.5,
        left_mm=np.asarray(atlas[0] - anatomy.brain_centre[0], dtype=np.float32),
        points_mm=points_mm,
    )


def _centre(
    rng: np.random.Generator, anatomy: Anatomy, *, stripped: bool, own_head: bool
) -> NDArray[np.float64]:
    """Return the atlas voxel in the middle of the grid: the centre of what the scan shows."""
    centre = np.array(anatomy.head_centre if own_head else anatomy.brain_centre)
    if not stripped and not own_head:
        centre[2] -= rng.uniform(0, 30)  # with a neck the brain is above the middle
    return np.asarray(centre + rng.normal(0, 5, 3))


def _warp(
    rng: np.random.Generator, anatomy: Anatomy, points: Volume, centre: NDArray[np.float64]
) -> Volume:
    """Return atlas voxel coordinates ``[3, *shape]`` of every grid point around ``centre``."""
    angles = np.deg2rad(rng.normal(0, 7, 3))
    linear = _rotation(angles) @ np.diag(1 / (rng.uniform(0.9, 1.15) * rng.uniform(0.93, 1.08, 3)))
    linear = linear @ (np.eye(3) + np.triu(rng.normal(0, 0.04, (3, 3)), 1))
    if rng.random() < 0.5:
        linear[:, 0] *= -1
    elastic = field(rng, GRID.shape, int(rng.integers(4, 9)), channels=3) * rng.uniform(0, 4)
    fine = field(rng, GRID.shape, 16, channels=3) * rng.uniform(0, 1.2)
    moved = np.tensordot(linear.astype(np.float32), points, axes=1)
    shifted = moved + elastic + fine + centre.reshape(3, 1, 1, 1)
    return np.asarray(shifted, dtype=np.float32)


def _rotation(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    total = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = [k for k in range(3) if k != axis]
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        total = total @ turn
    return total


def _place(
    rng: np.random.Generator, anatomy: Anatomy, atlas: Volume, points: Volume
) -> lesions.Focus | None:
    coarse = sample_maps(anatomy, atlas[:, ::4, ::4, ::4])
    brain, white = coarse[TISSUES.index("brain")], coarse[TISSUES.index("white")]
    weight = ((brain > 0.7) * (0.3 + white)).ravel().astype(np.float64)
    if weight.sum() == 0:
        return None
    chosen = rng.choice(weight.size, p=weight / weight.sum())
    centre = points[:, ::4, ::4, ::4].reshape(3, -1)[:, chosen]
    return lesions.Focus(centre, lesions.draw_volume_ml(rng))


def _resize_ventricles(rng: np.random.Generator, atlas: Volume, points: Volume) -> Volume:
    """Make the ventricles narrower, as in young brains, or wider, as in old ones."""
    reach = rng.uniform(18, 32)
    pull = rng.uniform(-0.25, 0.4) * np.exp(-(points**2).sum(axis=0) / reach**2)
    return np.asarray(atlas - _along_axes(atlas, points * pull), dtype=np.float32)


def _push_away(
    rng: np.random.Generator, atlas: Volume, points: Volume, focus: lesions.Focus
) -> Volume:
    """Move the tissue around the focus outward, as a growing tumour does."""
    reach = focus.radius_mm * rng.uniform(1.0, 2.0)
    offset = points - focus.centre_mm.reshape(3, 1, 1, 1)
    pull = rng.uniform(0, 0.5) * np.exp(-(offset**2).sum(axis=0) / reach**2)
    return np.asarray(atlas - _along_axes(atlas, offset * pull), dtype=np.float32)


def _along_axes(atlas: Volume, shift_mm: Volume) -> Volume:
    """Convert a shift in grid millimetres to atlas voxels by the local slope of the warp."""
    turned = np.zeros_like(shift_mm)
    for axis in range(3):
        slope = (atlas.take(-1, axis + 1) - atlas.take(0, axis + 1)).mean(axis=(1, 2))
        slope = slope / ((atlas.shape[axis + 1] - 1) * GRID.spacing_mm)
        turned += slope.reshape(3, 1, 1, 1) * shift_mm[axis]
    return turned


def sample_maps(anatomy: Anatomy, atlas: Volume) -> Volume:
    """Draw the anatomy's maps ``[len(TISSUES), *shape]`` at atlas voxels ``[3, *shape]``."""
    size = np.array(anatomy.maps.shape[1:], dtype=np.float32).reshape(3, 1, 1, 1)
    unit = torch.from_numpy(np.moveaxis((atlas / (size - 1) * 2 - 1)[::-1], 0, -1).copy())
    maps = torch.from_numpy(anatomy.maps)[None]
    drawn = F.grid_sample(maps, unit[None], mode="bilinear", align_corners=True)
    return np.asarray(drawn[0].numpy())
