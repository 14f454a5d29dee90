"""A volume sampled linearly on another grid, zero outside.

If the axes of both grids are parallel, that is one resampling along each of them: sums of two
planes, and one matrix product. Other points are sampled from 2D images of all planes. Both take a
fraction of the time that torch needs to sample points from a volume.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Volume = NDArray[np.float32]
Affine = NDArray[np.float64]

#: Axes are parallel if ignoring their angle moves no point by more than so many voxels.
_PARALLEL = 1e-3


def sample_affine(
    volume: Volume,
    shape: tuple[int, ...],
    to_volume: Affine,
    factors: tuple[int, ...] = (1, 1, 1),
) -> Volume:
    """Return ``shape`` voxels sampled linearly from ``volume``, zero outside.

    Each is sampled at its place to about a thousandth of a voxel.

    Args:
        volume: ``[I, J, K]``, all finite.
        shape: The size of the result.
        to_volume: 4x4, from the result's voxel indices to ``volume``'s.
        factors: Along each axis of ``volume``, how many voxels are averaged to one before
            sampling; fewer at the end are averaged to one too.
    """
    source = torch.from_numpy(volume)
    to_averages = np.diag([*(1 / np.array(factors)), 1.0])
    to_averages[:3, 3] = [(1 / factor - 1) / 2 for factor in factors]
    for axis, factor in enumerate(factors):
        source = _average(source, axis, factor)
    matrix = to_averages @ to_volume
    along = _parallel_axes(matrix[:3, :3], shape)
    if along is None:
        return np.asarray(_sample_points(source, shape, matrix).numpy())
    for axis, of in enumerate(along):
        source = _sample_along(source, axis, shape[of], matrix[axis, of], matrix[axis, 3])
    return np.ascontiguousarray(source.permute(np.argsort(along).tolist()).numpy())


def _average(source: Tensor, axis: int, factor: int) -> Tensor:
    """Return means of ``factor`` planes along ``axis``; the last may be of fewer."""
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
    """Return the result's axis that is parallel to each of the volume's; None if oblique.

    ``linear`` is 3x3, from steps of the result to steps of the volume.
    """
    reach = np.abs(linear) * np.array(shape)
    along = reach.argmax(axis=1).tolist()
    reach[range(3), along] = 0
    return along if sorted(along) == [0, 1, 2] and reach.max() < _PARALLEL else None


def _sample_along(source: Tensor, axis: int, count: int, slope: float, start: float) -> Tensor:
    """Return ``count`` planes along ``axis``, sampled at ``start``, ``start + slope``..."""
    size = source.shape[axis]
    at = slope * np.arange(count) + start
    low = np.floor(at).astype(np.intp)
    # the two planes on both sides of each, and their weights; weight zero outside the volume
    pairs = [
        (np.clip(plane, 0, size - 1), np.where((plane >= 0) & (plane < size), share, 0.0))
        for plane, share in ((low, low + 1 - at), (low + 1, at - low))
    ]
    if axis == source.ndim - 1:  # contiguous in memory: a matrix product reads it in order
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


def _sample_points(source: Tensor, shape: tuple[int, ...], matrix: Affine) -> Tensor:
    """Return the values at the points that ``matrix`` maps every index of ``shape`` to.

    torch samples 2D images with vector instructions, and volumes one point after the other. So the
    planes are placed below one another in one image, and a point is sampled from the two planes on
    both sides of it.
    """
    planes, rows, columns = source.shape
    z, y, x = (_applied(shape, matrix[axis]) for axis in range(3))
    low = z.clamp_(-1, planes).floor()
    # a plane and a row of zeros on every side, so that no plane is mixed with the next
    picture = F.pad(source, (0, 0, 1, 1, 1, 1)).view(1, 1, -1, columns)
    height = picture.shape[2]
    step = 2 / height
    points = torch.empty((*shape, 2))
    torch.add(x.mul_(2 / columns), 1 / columns - 1, out=points[..., 0])
    row = y.clamp_(-1, rows).add_(low + 1, alpha=rows + 2)
    torch.add(row.mul_(step), 1.5 * step - 1, out=points[..., 1])
    # torch distributes the images of a batch over threads: here one plane of points each
    pictures = picture.expand(shape[0], -1, -1, -1)
    below = F.grid_sample(pictures, points, align_corners=False)
    points[..., 1].add_((rows + 2) * step)
    above = F.grid_sample(pictures, points, align_corners=False)
    return torch.lerp(below[:, 0], above[:, 0], z.sub_(low))


def _applied(shape: tuple[int, ...], row: NDArray[np.float64]) -> Tensor:
    """Return one coordinate of the mapped indices of ``shape``: a matrix's row applied to them."""
    i, j, k = (torch.arange(n, dtype=torch.float64) for n in shape)
    slope_i, slope_j, slope_k, start = row.tolist()
    plane = ((slope_i * i)[:, None] + (slope_j * j + start)[None]).float()
    applied: Tensor = plane[:, :, None] + (slope_k * k).float()
    return applied
