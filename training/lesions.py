"""Synthetic tumours and their look-alikes, drawn into warped tumour-free anatomy.

A tumour is the set of brain voxels that a growth front reaches first: near a focus, along
white matter, around fluid and rarely across the midline. Taking the first ``volume`` of them
gives irregular outlines and finger-like oedema of an exact size.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.noise import octaves, smooth

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


@dataclass(frozen=True)
class Tissue:
    """Warped anatomy on the sample's grid; ``left_mm`` is the distance from the midline."""

    white: Volume
    fluid: Volume
    ventricle: Volume
    brain: Mask
    left_mm: Volume
    points_mm: Volume


def draw_volume_ml(rng: np.random.Generator) -> float:
    """Return a tumour volume of 1 to 200 ml, mostly above 8."""
    low = 1.0 if rng.random() < 0.15 else 8.0
    return float(np.exp(rng.uniform(np.log(low), np.log(200.0))))


def grow(rng: np.random.Generator, focus: Focus, tissue: Tissue) -> tuple[Mask, Volume]:
    """Return the tumour's mask, oedema included, and its growth front (below 0 inside)."""
    front = _distance(rng, focus, tissue)
    for _ in range(rng.integers(0, 3) if rng.random() < 0.25 else 0):
        shift = rng.normal(0, 14, 3).astype(np.float32) + np.float32(focus.radius_mm * 0.3)
        satellite = Focus(focus.centre_mm + shift, focus.volume_ml)
        front = np.minimum(front, _distance(rng, satellite, tissue) + rng.uniform(0.2, 0.6))
    front = front + octaves(rng, front.shape, rng.uniform(0.1, 0.5))
    front -= rng.uniform(0, 1.1) * tissue.white
    front += rng.uniform(0.8, 2.0) * (tissue.fluid + tissue.ventricle)
    side = np.sign(_nearest(tissue.left_mm, tissue, focus))
    if rng.random() < 0.9:
        front += rng.uniform(0.3, 1.0) * (tissue.left_mm * side < -3)
    front[~tissue.brain] = np.inf
    voxels = int(min(focus.volume_ml * 1000 / _voxel_mm3(tissue), tissue.brain.sum() * 0.25))
    reached = np.partition(front[tissue.brain], voxels)[voxels]
    front = front - reached
    return front < 0, front


def paint(
    rng: np.random.Generator,
    image: Volume,
    focus: Focus,
    tissue: Tissue,
    front: Volume,
) -> Volume:
    """Give the tumour its brightness, white matter being 1: oedema, solid core, rim, necrosis."""
    softness = rng.uniform(0.02, 0.12)
    inside = 1 / (1 + np.exp(np.clip(front / softness, -30, 30)))
    inside[~tissue.brain] = 0
    mottle = 1 + octaves(rng, front.shape, rng.uniform(0, 0.25))
    excess = rng.uniform(0.3, 1.4)
    fade = np.clip(-front / rng.uniform(0.2, 1.0), 0, 1) if rng.random() < 0.3 else np.float32(1)
    look = image + excess * mottle * fade if rng.random() < 0.5 else (1 + excess * fade) * mottle
    if rng.random() < 0.75:
        look = _paint_core(rng, look, focus, tissue, front)
    return np.asarray(image + inside * (look - image), dtype=np.float32)


def add_white_matter_lesions(rng: np.random.Generator, image: Volume, tissue: Tissue) -> Volume:
    """Add what is no tumour but bright: ventricle caps, plaques, pulsation in the fluid."""
    image = image.copy()
    if rng.random() < 0.75:
        halo = smooth(tissue.ventricle, passes=int(rng.integers(1, 5)))
        patchy = octaves(rng, image.shape, rng.uniform(0.05, 0.3))
        cap = np.clip((halo + patchy * halo - rng.uniform(0.04, 0.25)) * 8, 0, 1)
        image += rng.uniform(0.1, 1.0) * cap * tissue.white
    if rng.random() < 0.6:
        _add_plaques(rng, image, tissue)
    if rng.random() < 0.25:
        glow = np.clip(octaves(rng, image.shape, 1.5) - 0.5, 0, 1)
        image += rng.uniform(0.2, 1.0) * glow * (tissue.fluid + tissue.ventricle)
    return image


def _paint_core(
    rng: np.random.Generator, look: Volume, focus: Focus, tissue: Tissue, front: Volume
) -> Volume:
    core_share = rng.uniform(0.03, 0.7)
    inside = front < 0
    moved = Focus(
        focus.centre_mm + rng.normal(0, 0.2 * focus.radius_mm, 3).astype(np.float32),
        focus.volume_ml * core_share,
    )
    depth = _distance(rng, moved, tissue) + octaves(rng, front.shape, rng.uniform(0.05, 0.35))
    values = depth[inside]
    if values.size < 8:
        return look
    depth = depth - np.quantile(values, core_share)
    edge = rng.uniform(0.02, 0.08)
    core = 1 / (1 + np.exp(np.clip(depth / edge, -30, 30)))
    look = look + core * (rng.uniform(0.8, 2.2) - look)
    if rng.random() < 0.5:
        thickness = rng.uniform(0.04, 0.4)
        necrosis = 1 / (1 + np.exp(np.clip((depth + thickness) / edge, -30, 30)))
        look = look + necrosis * (rng.uniform(0.1, 1.3) - look)
    if rng.random() < 0.4:
        rim = np.exp(-((depth / rng.uniform(0.05, 0.15)) ** 2))
        look = look + rng.uniform(0.1, 0.9) * rim
    return np.asarray(look, dtype=np.float32)


def _add_plaques(rng: np.random.Generator, image: Volume, tissue: Tissue) -> None:
    candidates = np.argwhere(tissue.white > 0.7)
    if not len(candidates):
        return
    spacing = _spacing_mm(tissue)
    brightness = rng.uniform(0.2, 1.2)
    for centre in candidates[rng.integers(0, len(candidates), rng.integers(1, 30))]:
        radii = rng.uniform(1.2, 5.0) * np.exp(rng.normal(0, 0.25, 3)) / spacing
        low = np.maximum(centre - np.ceil(radii * 2).astype(int), 0)
        high = np.minimum(centre + np.ceil(radii * 2).astype(int) + 1, image.shape)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        axes = np.ogrid[box]
        squared = sum(((axis - c) / r) ** 2 for axis, c, r in zip(axes, centre, radii, strict=True))
        blob = 1 / (1 + np.exp(np.clip((np.sqrt(squared) - 1) * 6, -30, 30)))
        image[box] += brightness * rng.uniform(0.6, 1.2) * blob * tissue.white[box]


def _distance(rng: np.random.Generator, focus: Focus, tissue: Tissue) -> Volume:
    """Distance to the focus in radii, stretched along random axes."""
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    stretch = rotation @ np.diag(np.exp(rng.normal(0, 0.22, 3))) @ rotation.T
    offset = tissue.points_mm - focus.centre_mm.reshape(3, 1, 1, 1)
    turned = np.tensordot((stretch / focus.radius_mm).astype(np.float32), offset, axes=1)
    return np.asarray(np.sqrt((turned**2).sum(axis=0)), dtype=np.float32)


def _nearest(volume: Volume, tissue: Tissue, focus: Focus) -> float:
    low = tissue.points_mm[:, 0, 0, 0]
    index = np.round((focus.centre_mm - low) / _spacing_mm(tissue)).astype(int)
    x, y, z = np.clip(index, 0, np.array(volume.shape) - 1)
    return float(volume[x, y, z])


def _spacing_mm(tissue: Tissue) -> float:
    return float(tissue.points_mm[0, 1, 0, 0] - tissue.points_mm[0, 0, 0, 0])


def _voxel_mm3(tissue: Tissue) -> float:
    return _spacing_mm(tissue) ** 3
