"""Bright structures that are not tumours: hard negatives that every sample may have."""

import numpy as np
from numpy.typing import NDArray

from training.data.lesions import Tissue
from training.data.noise import octaves, smooth

Volume = NDArray[np.float32]


def add_lookalikes(rng: np.random.Generator, image: Volume, tissue: Tissue) -> Volume:
    """Add ventricle caps, plaques, confluent white-matter disease and pulsation in the fluid."""
    image = image.copy()
    if rng.random() < 0.75:
        _add_caps(rng, image, tissue)
    if rng.random() < 0.6:
        _add_plaques(rng, image, tissue)
    if rng.random() < 0.15:
        _add_confluent_disease(rng, image, tissue)
    if rng.random() < 0.25:
        glow = np.clip(octaves(rng, image.shape, 1.5) - 0.5, 0, 1)
        image += rng.uniform(0.2, 1.0) * glow * (tissue.fluid + tissue.ventricle)
    return image


def _add_caps(rng: np.random.Generator, image: Volume, tissue: Tissue) -> None:
    halo = smooth(tissue.ventricle, passes=int(rng.integers(1, 5)))
    patchy = octaves(rng, image.shape, rng.uniform(0.05, 0.3))
    cap = np.clip((halo + patchy * halo - rng.uniform(0.04, 0.25)) * 8, 0, 1)
    image += rng.uniform(0.1, 1.0) * cap * tissue.white


def _add_confluent_disease(rng: np.random.Generator, image: Volume, tissue: Tissue) -> None:
    """Small-vessel disease: patches around the ventricles that merge, similar on both sides."""
    near = smooth(tissue.ventricle, passes=8)
    pattern = octaves(rng, image.shape, 1.0)
    mirrored = rng.uniform(0.25, 0.5)
    pattern = (1 - mirrored) * pattern + mirrored * pattern[::-1]
    rise = near / max(float(near.max()), 1e-6) * rng.uniform(2, 5) + pattern
    patches = np.clip((rise - rng.uniform(1.0, 2.0)) * 5, 0, 1)
    image += rng.uniform(0.25, 1.0) * patches * tissue.white


def _add_plaques(rng: np.random.Generator, image: Volume, tissue: Tissue) -> None:
    candidates = np.argwhere(tissue.white > 0.7)
    if not len(candidates):
        return
    brightness = rng.uniform(0.2, 1.2)
    for centre in candidates[rng.integers(0, len(candidates), rng.integers(1, 30))]:
        radii = rng.uniform(1.2, 5.0) * np.exp(rng.normal(0, 0.25, 3)) / tissue.spacing_mm
        low = np.maximum(centre - np.ceil(radii * 2).astype(int), 0)
        high = np.minimum(centre + np.ceil(radii * 2).astype(int) + 1, image.shape)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        axes = np.ogrid[box]
        squared = sum(((axis - c) / r) ** 2 for axis, c, r in zip(axes, centre, radii, strict=True))
        blob = 1 / (1 + np.exp(np.clip((np.sqrt(squared) - 1) * 6, -30, 30)))
        image[box] += brightness * rng.uniform(0.6, 1.2) * blob * tissue.white[box]
