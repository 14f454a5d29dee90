"""Smooth random fields for outlines, warps and bias fields."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

Volume = NDArray[np.float32]


def field(
    rng: np.random.Generator, shape: tuple[int, ...], cells: int, channels: int = 1
) -> Volume:
    """Return ``[channels, *shape]`` of unit noise, smooth over ``1 / cells`` of each axis."""
    coarse = rng.standard_normal((1, channels, *(cells + 2,) * 3), dtype=np.float32)
    size = [shape[0], shape[1], shape[2]]
    grown = F.interpolate(torch.from_numpy(coarse), size, mode="trilinear", align_corners=True)
    return np.asarray(grown[0].numpy())


def octaves(rng: np.random.Generator, shape: tuple[int, ...], amplitude: float) -> Volume:
    """Return noise of three scales, finer ones with lower amplitude."""
    scales = [(int(rng.integers(3, 6)), 1.0), (int(rng.integers(8, 13)), 0.5), (24, 0.25)]
    total = sum(weight * field(rng, shape, cells)[0] for cells, weight in scales)
    return np.asarray(amplitude * total, dtype=np.float32)


def smooth(volume: Volume, passes: int) -> Volume:
    """Return ``volume`` averaged over 3x3x3 voxels, ``passes`` times."""
    tensor = torch.from_numpy(np.ascontiguousarray(volume))[None, None]
    for _ in range(passes):
        tensor = F.avg_pool3d(tensor, 3, stride=1, padding=1)
    return np.asarray(tensor[0, 0].numpy())
