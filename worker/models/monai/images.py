"""Scans as MONAI's transforms take and return them: channel-first images that carry an affine."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.volumes.geometry import is_same_grid, voxel_volume_ml
from worker.volume.resample import Affine


def as_loaded(
    volumes: Sequence[NDArray[np.generic]], affine: Affine, keys: Sequence[str]
) -> dict[str, Any]:
    """Return what loading the files would have given: channel-first images with an affine.

    Args:
        volumes: The channels, in one grid.
        affine: 4x4, from voxel indices to RAS+ millimetres.
        keys: One key for all channels together, or one for each.
    """
    from monai.data import MetaTensor

    stacked = torch.stack(
        [torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32)) for volume in volumes]
    )
    images = [channel[None] for channel in stacked] if len(keys) > 1 else [stacked]
    matrix = torch.from_numpy(affine)
    return {
        key: MetaTensor(
            image,
            affine=matrix,
            meta={
                "original_affine": matrix.clone(),
                "original_channel_dim": 0,
                "spatial_shape": np.array(image.shape[1:]),
                "space": "RAS",
            },
        )
        for key, image in zip(keys, images, strict=True)
    }


def as_output_of(image: Tensor, values: Tensor) -> Any:
    """Return ``values`` with the affine and the applied transforms of the network's ``image``."""
    from monai.data import MetaTensor

    meta = getattr(image, "meta", None)
    output = MetaTensor(values, meta=copy.deepcopy(meta) if meta else None)
    output.applied_operations = copy.deepcopy(getattr(image, "applied_operations", []))
    return output


def in_scan_grid(output: Any, shape: tuple[int, ...], affine: Affine) -> Tensor:
    """Return an output as ``[L, I, J, K]`` in the scan's grid, by nearest neighbours.

    Args:
        output: ``[L, I, J, K]`` or ``[I, J, K]``; without an affine, it is in the scan's grid.
        shape: The scan's.
        affine: The scan's.
    """
    from monai.transforms import SpatialResample

    if output.ndim == 3:
        output = output[None]
    output_affine = np.asarray(getattr(output, "affine", affine))
    if not is_same_grid(output.shape[1:], output_affine, shape, affine):
        resample = SpatialResample(mode="nearest", padding_mode="zeros")
        output = resample(output, dst_affine=torch.from_numpy(affine), spatial_size=shape)
    return as_plain(torch.as_tensor(output)).cpu()


def as_plain(image: Tensor) -> Tensor:
    """Return an image as a plain tensor of torch, which networks run faster with."""
    return image.as_subclass(Tensor).float()


def image_voxel_ml(image: Tensor) -> float:
    """Return the volume of one of the image's voxels in millilitres."""
    return voxel_volume_ml(np.asarray(getattr(image, "affine", np.eye(4))))
