"""Synthetic tumours, grown and drawn into warped tumour-free anatomy.

A tumour is the set of brain voxels that a growth front reaches first: near a focus, along
white matter, around fluid and rarely across the midline. Taking the first ``volume`` of them
gives irregular outlines and finger-like oedema of an exact size.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.data.noise import octaves

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Focus:
    """Where a tumour starts: millimetres from the grid's centre, and its volume in millilitres."""

    centre_mm: NDArray[np.float32]
    volume_ml: float

    @property
    def radius_mm(self) -> float:
        """The radius of a ball of the same volume."""
        return float((3000 * self.volume_ml / (4 * np.pi)) ** (1 / 3))

    def moved(self, shift_mm: NDArray[np.floating], volume_ml: float) -> "Focus":
        """Return a focus at a distance from this one."""
        return Focus((self.centre_mm + shift_mm).astype(np.float32), volume_ml)


@dataclass(frozen=True)
class Tissue:
    """Warped anatomy on the sample's grid; ``left_mm`` is the distance from the midline."""

    white: Volume
    fluid: Volume
    ventricle: Volume
    brain: Mask
    left_mm: Volume
    points_mm: Volume

    @property
    def spacing_mm(self) -> float:
        """The edge of a voxel."""
        return float(self.points_mm[0, 1, 0, 0] - self.points_mm[0, 0, 0, 0])


def draw_volume_ml(rng: np.random.Generator) -> float:
    """Return a tumour volume of 1 to 200 ml, mostly above 8."""
    low = 1.0 if rng.random() < 0.15 else 8.0
    return float(np.exp(rng.uniform(np.log(low), np.log(200.0))))


def grow(rng: np.random.Generator, focus: Focus, tissue: Tissue) -> tuple[Mask, Volume]:
    """Return the tumour's mask, oedema included, and its growth front (below 0 inside)."""
    front = _distance(rng, focus, tissue)
    for _ in range(rng.integers(0, 3) if rng.random() < 0.25 else 0):
        shift = rng.normal(0, 14, 3) + focus.radius_mm * 0.3
        satellite = focus.moved(shift, focus.volume_ml)
        front = np.minimum(front, _distance(rng, satellite, tissue) + rng.uniform(0.2, 0.6))
    front = front + octaves(rng, front.shape, rng.uniform(0.1, 0.5))
    front -= rng.uniform(0, 1.1) * tissue.white
    front += rng.uniform(0.8, 2.0) * (tissue.fluid + tissue.ventricle)
    if rng.random() < 0.85:
        # The falx stops a tumour; some grow through the corpus callosum, which is white matter.
        side = np.sign(_nearest(tissue.left_mm, tissue, focus))
        bridge = 1 - rng.uniform(0, 1.0) * tissue.white
        front += rng.uniform(0.3, 1.0) * (tissue.left_mm * side < -3) * bridge
    front[~tissue.brain] = np.inf
    voxels = int(min(focus.volume_ml * 1000 / tissue.spacing_mm**3, tissue.brain.sum() * 0.25))
    reached = np.partition(front[tissue.brain], voxels)[voxels]
    front = front - reached
    return smooth_outline(front < 0, tissue.brain), front


def smooth_outline(mask: Mask, brain: Mask) -> Mask:
    """Fill gaps of two voxels between the tumour and the surface, as radiologists outline it.

    They include the cortex over a tumour, and exclude the gaps between its extensions.
    """
    if not mask.any():
        return mask
    box = tuple(slice(max(0, at.min() - 4), at.max() + 5) for at in np.nonzero(mask))
    inside, tissue = mask[box], brain[box]
    near = _grown(inside, 2)
    solid = _grown(inside | (near & ~tissue), 1)
    drawn = mask.copy()
    drawn[box] |= ~_grown(~solid, 1) & tissue & near & _grown(~tissue, 2)
    return drawn


def paint(
    rng: np.random.Generator, image: Volume, focus: Focus, tissue: Tissue, front: Volume
) -> Volume:
    """Draw the brightness of the tumour, relative to white matter: oedema, core, rim, necrosis.

    The outline is where the brightness has fallen to one half, or a little outside.
    """
    softness = rng.uniform(0.02, 0.1)
    inside = _step(front + rng.uniform(0.0, 1.2) * softness, softness)
    inside[~tissue.brain] = 0
    mottle = 1 + octaves(rng, front.shape, rng.uniform(0, 0.25))
    excess = rng.uniform(0.3, 1.4)
    fade = np.clip(-front / rng.uniform(0.2, 1.0), 0, 1) if rng.random() < 0.3 else np.float32(1)
    painted = image + excess * mottle * fade if rng.random() < 0.5 else (1 + excess * fade) * mottle
    if rng.random() < 0.75:
        painted = _paint_core(rng, painted, focus, tissue, front)
    painted = np.maximum(painted, 0)
    return np.asarray(image + inside * (painted - image), dtype=np.float32)


def _paint_core(
    rng: np.random.Generator, painted: Volume, focus: Focus, tissue: Tissue, front: Volume
) -> Volume:
    """Draw a solid core, sometimes with necrosis, a cyst or a rim."""
    core_share = rng.uniform(0.03, 0.7)
    shift = rng.normal(0, 0.2 * focus.radius_mm, 3)
    cyst = rng.random() < 0.3
    if cyst:
        # A cavity is at one side, often at the surface of the brain, where its wall is thin.
        outward = focus.centre_mm / max(float(np.linalg.norm(focus.centre_mm)), 1.0)
        shift = shift + outward * focus.radius_mm * rng.uniform(0, 0.9)
    values = front[front < 0]
    if values.size < 8:
        return painted
    core = focus.moved(shift, focus.volume_ml * core_share)
    depth = _distance(rng, core, tissue) + octaves(rng, front.shape, rng.uniform(0.05, 0.35))
    depth = depth - np.quantile(depth[front < 0], core_share)
    edge = rng.uniform(0.02, 0.08)
    painted = painted + _step(depth, edge) * (rng.uniform(0.8, 2.2) - painted)
    if cyst or rng.random() < 0.45:
        thickness = rng.uniform(0.0, 0.15) if cyst else rng.uniform(0.04, 0.4)
        darkness = rng.uniform(0.0, 0.6) if cyst else rng.uniform(0.1, 1.3)
        painted = painted + _step(depth + thickness, edge) * (darkness - painted)
    if rng.random() < 0.4:
        rim = np.exp(-((depth / rng.uniform(0.05, 0.15)) ** 2))
        painted = painted + rng.uniform(0.1, 0.9) * rim
    return np.asarray(painted, dtype=np.float32)


def _grown(mask: Mask, voxels: int) -> Mask:
    """Return the mask grown by a cube, one axis after another."""
    size = 2 * voxels + 1
    for axis in range(3):
        mask = ndimage.maximum_filter1d(mask.view(np.uint8), size, axis).view(np.bool_)
    return mask


def _step(distance: Volume, softness: float) -> Volume:
    """Return 1 where ``distance`` is well below zero, 0 where it is well above."""
    return np.asarray(1 / (1 + np.exp(np.clip(distance / softness, -30, 30))), dtype=np.float32)


def _distance(rng: np.random.Generator, focus: Focus, tissue: Tissue) -> Volume:
    """Distance to the focus in radii, stretched along random axes."""
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    stretch = rotation @ np.diag(np.exp(rng.normal(0, 0.22, 3))) @ rotation.T
    offset = tissue.points_mm - focus.centre_mm.reshape(3, 1, 1, 1)
    turned = np.tensordot((stretch / focus.radius_mm).astype(np.float32), offset, axes=1)
    return np.asarray(np.sqrt((turned**2).sum(axis=0)), dtype=np.float32)


def _nearest(volume: Volume, tissue: Tissue, focus: Focus) -> float:
    low = tissue.points_mm[:, 0, 0, 0]
    index = np.round((focus.centre_mm - low) / tissue.spacing_mm).astype(int)
    x, y, z = np.clip(index, 0, np.array(volume.shape) - 1)
    return float(volume[x, y, z])
