"""A volume drawn linearly on another grid, zero where it ends.

Where the axes of both grids are parallel, that is one resampling along each of them: sums of two
planes, and one matrix product, in a fraction of the time that points anywhere take.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Volume = NDArray[np.float32]
Affine = NDArray[np.float64]

#: Axes are parallel where nothing is drawn from further off than so many voxels.
_PARALLEL = 1e-3


def sample_affine(
    volume: Volume,
    shape: tuple[int, ...],
    to_volume: Affine,
    factors: tuple[int, ...] = (1, 1, 1),
) -> Volume:
    """Return ``shape`` voxels drawn linearly from ``volume``, zero where it ends.

    Args:
        volume: ``[I, J, K]``, all finite.
        shape: The size of the result.
        to_volume: 4x4, from the result's voxel indices to ``volume``'s.
        factors: Along each axis of ``volume``, how many voxels are averaged to one before it is
            drawn from; what is left over at the end is one too.
    """
    source = torch.from_numpy(volume)
    to_averages = np.diag([*(1 / np.array(factors)), 1.0])
    to_averages[:3, 3] = [(1 / factor - 1) / 2 for factor in factors]
    for axis, factor in enumerate(factors):
        source = _average(source, axis, factor)
    matrix = to_averages @ to_volume
    along = _parallel_axes(matrix[:3, :3], shape)
    if along is None:
        points = _points(shape, _to_unit(tuple(source.shape)) @ matrix)
        drawn = F.grid_sample(source[None, None], points, mode="bilinear", align_corners=False)
        return np.asarray(drawn[0, 0].numpy())
    for axis, of in enumerate(along):
        source = _draw_along(source, axis, shape[of], matrix[axis, of], matrix[axis, 3])
    return np.ascontiguousarray(source.permute(np.argsort(along).tolist()).numpy())


def _average(source: Tensor, axis: int, factor: int) -> Tensor:
    """Return means of ``factor`` planes across ``axis``; the last may be of fewer."""
    if factor == 1:
        return source
    size, means = source.shape[axis], -(-source.shape[axis] // factor)
    across = [slice(None)] * 3
    total = torch.zeros([*source.shape[:axis], means, *source.shape[axis + 1 :]])
    for start in range(factor):
        across[axis] = slice(start, None, factor)
        planes = source[tuple(across)]
        total.narrow(axis, 0, planes.shape[axis]).add_(planes)
    total.narrow(axis, 0, size // factor).div_(factor)
    if size % factor:
        total.narrow(axis, means - 1, 1).div_(size % factor)
    return total


def _parallel_axes(linear: Affine, shape: tuple[int, ...]) -> list[int] | None:
    """Return which of the result's axes runs along each of the volume's; None if they are oblique.

    ``linear`` is 3x3, from steps of the result to steps of the volume.
    """
    reach = np.abs(linear) * np.array(shape)
    along = reach.argmax(axis=1).tolist()
    reach[range(3), along] = 0
    return along if sorted(along) == [0, 1, 2] and reach.max() < _PARALLEL else None


def _draw_along(source: Tensor, axis: int, count: int, slope: float, start: float) -> Tensor:
    """Return ``count`` planes across ``axis``, drawn at ``start``, ``start + slope``..."""
    size = source.shape[axis]
    at = slope * np.arange(count) + start
    low = np.floor(at).astype(np.intp)
    # the two planes that each lies between, and how near it is to them; none beyond the ends
    pairs = [
        (np.clip(plane, 0, size - 1), np.where((plane >= 0) & (plane < size), share, 0.0))
        for plane, share in ((low, low + 1 - at), (low + 1, at - low))
    ]
    if axis == source.ndim - 1:  # close in memory: a product reads it in order
        weights = np.zeros((size, count), dtype=np.float32)
        for plane, share in pairs:
            np.add.at(weights, (plane, np.arange(count)), share)
        return source @ torch.from_numpy(weights)
    across = [1] * source.ndim
    across[axis] = count
    (low_planes, low_share), (high_planes, high_share) = (
        (source.index_select(axis, torch.from_numpy(plane)), torch.from_numpy(share).float())
        for plane, share in pairs
    )
    return low_planes.mul_(low_share.view(across)).addcmul_(high_planes, high_share.view(across))


def _points(shape: tuple[int, ...], matrix: Affine) -> Tensor:
    """Return ``matrix`` applied to every index of ``shape``, ``[1, *shape, 3]``.

    It does what torch's own ``affine_grid`` does, in a third of the time: the sums over two of
    the axes are shared by all of the third.
    """
    points = torch.empty((1, *shape, 3), dtype=torch.float32)
    i, j, k = (torch.arange(n, dtype=torch.float64) for n in shape)
    for axis in range(3):
        slope_i, slope_j, slope_k, start = matrix[axis].tolist()
        plane = ((slope_i * i)[:, None] + (slope_j * j + start)[None]).float()
        line = (slope_k * k).float()
        # torch counts a volume's axes backwards.
        torch.add(plane[:, :, None], line[None, None], out=points[0, ..., 2 - axis])
    return points


def _to_unit(shape: tuple[int, ...]) -> Affine:
    """Map voxel indices to -1..1 between the outer faces of the volume."""
    matrix = np.diag([2 / n for n in shape] + [1.0])
    matrix[:3, 3] = [1 / n - 1 for n in shape]
    return matrix
