"""Random heads for brains whose anatomy has none.

Around the brain there are meninges with fluid, bone with marrow, and the scalp; below it a face and
a neck of mixed tissue, with two eyes. Thickness and composition are random, because a network that
was trained with one head would not know the skull of another.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.data.noise import field, octaves

Volume = NDArray[np.float32]


def add_head(
    rng: np.random.Generator, maps: Mapping[str, Volume], points_mm: Volume
) -> dict[str, Volume]:
    """Return ``maps`` with a drawn head in ``bone``, ``soft``, ``fat`` and ``fluid``.

    Args:
        rng: The source of randomness.
        maps: The brain's tissues by name, each ``[I, J, K]``.
        points_mm: Millimetres of each voxel, ``[3, I, J, K]``.
    """
    spacing_mm = float(points_mm[0, 1, 0, 0] - points_mm[0, 0, 0, 0])
    brain = maps["brain"] > 0.5
    distance_mm = (
        ndimage.distance_transform_edt(~_closed(brain, round(8 / spacing_mm))) * spacing_mm
    )
    away: Volume = np.asarray(ndimage.gaussian_filter(distance_mm, 1.0), dtype=np.float32)
    shape = away.shape
    gap = _thickness(rng, shape, 0.5, 4.0)
    inner = gap + _thickness(rng, shape, 3.0, 9.0)
    outer = inner + _thickness(rng, shape, 3.0, 12.0)
    outside = 1 - maps["brain"]
    fluid = outside * _below(away, gap)
    bone = outside * (_below(away, inner) - _below(away, gap))
    scalp = outside * (_below(away, outer) - _below(away, inner))
    marrow = rng.uniform(0, 0.6) * np.exp(-(((away - (gap + inner) / 2) / 1.5) ** 2))
    fatty = np.clip(rng.uniform(0.2, 1.0) + 0.4 * field(rng, shape, 6)[0], 0, 1)
    under = _under(rng, brain, points_mm, float(np.median(outer))) * outside
    under = under * (1 - _below(away, inner))
    mixed = octaves(rng, shape, 1.0)
    air, lard = (mixed < -rng.uniform(0.3, 1.2)), (mixed > rng.uniform(0.2, 1.2))
    scalp = scalp * (1 - under)
    head = {
        "fluid": maps["fluid"] + fluid,
        "bone": bone * (1 - marrow) + under * air,
        "soft": scalp * (1 - fatty) + under * ~(air | lard),
        "fat": scalp * fatty + bone * marrow + under * lard,
    }
    if rng.random() < 0.8:
        _add_eyes(rng, head, brain, points_mm)
    named = {name: np.asarray(volume, dtype=np.float32) for name, volume in head.items()}
    return {**maps, **named}


def _thickness(
    rng: np.random.Generator, shape: tuple[int, ...], low_mm: float, high_mm: float
) -> Volume:
    """Return the thickness of a layer in millimetres, which varies over its area."""
    uneven = 1 + 0.25 * field(rng, shape, int(rng.integers(3, 8)))[0]
    return np.asarray(np.maximum(rng.uniform(low_mm, high_mm) * uneven, 0), dtype=np.float32)


def _below(away_mm: Volume, bound_mm: Volume) -> Volume:
    """Return 1 nearer to the brain than the bound and 0 beyond, with a slope of two millimetres."""
    return np.asarray(np.clip((bound_mm - away_mm) / 2 + 0.5, 0, 1), dtype=np.float32)


def _under(
    rng: np.random.Generator, brain: NDArray[np.bool_], points_mm: Volume, beyond_mm: float
) -> NDArray[np.bool_]:
    """Return face and neck: a column below the brain that narrows downwards."""
    low, high = (np.array(corner) for corner in _box_mm(brain, points_mm))
    middle, half = (low + high) / 2, (high - low) / 2 + beyond_mm
    top = low[2] + rng.uniform(0.25, 0.5) * (high[2] - low[2])
    depth = np.clip((top - points_mm[2]) / 100, 0, None)
    narrow = 1 - rng.uniform(0.05, 0.35) * depth
    forward = rng.uniform(-10, 20) * depth
    across = (points_mm[0] - middle[0]) / (half[0] * rng.uniform(0.85, 1.0))
    along = (points_mm[1] - middle[1] - forward) / (half[1] * rng.uniform(0.85, 1.0))
    edge = 1 + 0.06 * field(rng, brain.shape, 6)[0]
    inside = across**2 + along**2 < (narrow * edge) ** 2
    return np.asarray(inside & (points_mm[2] < top), dtype=np.bool_)


def _add_eyes(
    rng: np.random.Generator,
    head: dict[str, Volume],
    brain: NDArray[np.bool_],
    points_mm: Volume,
) -> None:
    """Add two balls of fluid in fat, low in the front."""
    low, high = _box_mm(brain, points_mm)
    apart, ahead = rng.uniform(26, 36), high[1] - rng.uniform(6, 24)
    level = low[2] + rng.uniform(0.2, 0.4) * (high[2] - low[2])
    radius = rng.uniform(10, 14)
    for side in (-1, 1):
        centre = np.array([(low[0] + high[0]) / 2 + side * apart, ahead, level])
        away = np.sqrt(((points_mm - centre.reshape(3, 1, 1, 1)) ** 2).sum(axis=0))
        ball, socket = (~brain & (away < radius)), (~brain & (away < radius * 1.5))
        for name in ("bone", "soft", "fat"):
            head[name] = np.where(socket, float(name == "fat"), head[name])
        for name, share in (("fat", 0.0), ("fluid", 1.0)):
            head[name] = np.where(ball, share, head[name])


def _box_mm(brain: NDArray[np.bool_], points_mm: Volume) -> tuple[Volume, Volume]:
    inside = points_mm[:, brain]
    return inside.min(axis=1), inside.max(axis=1)


def _closed(brain: NDArray[np.bool_], voxels: int) -> NDArray[np.bool_]:
    """Fill gaps narrower than twice ``voxels``, so that a skull does not follow the folds."""
    padded = np.pad(brain, voxels)
    near = ndimage.distance_transform_edt(~padded) <= voxels
    closed = ndimage.distance_transform_edt(near) > voxels
    core = tuple(slice(voxels, -voxels) for _ in range(3))
    return np.asarray(closed[core] | brain, dtype=np.bool_)
