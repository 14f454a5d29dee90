"""A volume that resembles a head with a bright lesion.

A network warms up on it, and the autotuner compares compute modes on it.
"""

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def phantom_head(shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Return a noisy ellipsoid with a shell, and in it a ball of a fiftieth of the volume.

    The ball is so large that a network that misses it disagrees in more voxels than may differ
    between two compute modes.
    """
    steps = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij")
    radius = np.sqrt(sum(step**2 for step in steps))
    lesion = np.sqrt(
        sum((step - at) ** 2 for step, at in zip(steps, (0.25, 0.2, 0.1), strict=True))
    )
    head = np.zeros(shape, dtype=np.float32)
    head[radius < 0.9] = 60
    head[radius < 0.82] = 100
    head[radius < 0.25] = 40
    head[lesion < 0.34] = 190
    noise = np.random.default_rng(0).normal(0, 6, shape).astype(np.float32)
    return np.where(radius < 0.9, head + noise, 0).astype(np.float32)
