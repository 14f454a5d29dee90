"""The preprocessing of a bundle without a configuration, from ``configs/metadata.json``.

The fields are at the top of the file, or in the image description of MONAI's model zoo:

- ``spacing``: edges of a voxel in mm, along the network's axes; without it, scans keep theirs.
- ``orientation``: axis codes such as ``RAS``; without it, axes keep the order of the file.
- ``spatial_shape``: the window, voxels along each axis. The zoo's ``"8*n"`` means whole volumes,
  padded to multiples of 8.
- ``overlap``: the share that neighbouring windows have in common, 0.5 by default.
- ``normalization``: ``z-score-nonzero`` (each channel over its voxels that are not 0; zeros stay
  0), ``z-score``, ``unit-range`` or ``none``.
"""

import re
from typing import Any, Literal, Self

import nibabel as nib
import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from torch import Tensor

from shared.bundles.files import METADATA
from shared.bundles.metadata import input_format
from shared.errors import ModelError
from worker.inference.sliding_window import WindowRules
from worker.volume.grid_bound import check_grid
from worker.volume.resample import Affine

_FIELDS = ("spacing", "orientation", "spatial_shape", "overlap", "normalization")
_DIRECTIONS = ("LR", "AP", "SI")
_MULTIPLE = re.compile(r"\s*([1-9][0-9]{0,3})\s*\*\s*n\s*")
#: Shortest and longest edge of a voxel (mm), and longest edge of a window (voxels).
_MIN_MM, _MAX_MM, _MAX_EDGE = 0.01, 100.0, 2048


class ExportedRecipe(BaseModel):
    """How a scan is prepared for a TorchScript or exported network; see the module."""

    model_config = ConfigDict(frozen=True)

    spacing: tuple[float, float, float] | None = None
    orientation: str | None = Field(default=None, min_length=3, max_length=3)
    spatial_shape: tuple[int | str, int | str, int | str] = ("16*n", "16*n", "16*n")
    overlap: float = Field(default=0.5, ge=0, le=0.95)
    normalization: Literal["z-score-nonzero", "z-score", "unit-range", "none"] = "z-score-nonzero"

    @field_validator("spacing")
    @classmethod
    def _is_length(
        cls, spacing: tuple[float, float, float] | None
    ) -> tuple[float, float, float] | None:
        if spacing is not None and not all(_MIN_MM <= edge <= _MAX_MM for edge in spacing):
            raise ValueError(f"a voxel has edges from {_MIN_MM:g} to {_MAX_MM:g} mm")
        return spacing

    @field_validator("orientation")
    @classmethod
    def _is_orientation(cls, codes: str | None) -> str | None:
        if codes is not None and any(len(set(codes) & set(pair)) != 1 for pair in _DIRECTIONS):
            raise ValueError(f"{codes} does not name three axes")
        return codes

    @field_validator("spatial_shape")
    @classmethod
    def _is_shape(cls, shape: tuple[int | str, ...]) -> tuple[int | str, ...]:
        for length in shape:
            if isinstance(length, str) and not _MULTIPLE.fullmatch(length):
                raise ValueError(f"{length!r} is neither a number of voxels nor like '16*n'")
            if isinstance(length, int) and not 1 <= length <= _MAX_EDGE:
                raise ValueError(f"a window has 1 to {_MAX_EDGE} voxels along each axis")
        return shape

    @classmethod
    def of(cls, metadata: dict[str, Any]) -> Self:
        """Return what a bundle's metadata says.

        Raises:
            ModelError: A field has a value that is not possible.
        """
        try:
            fields = {**input_format(metadata), **metadata}
            return cls.model_validate({name: fields[name] for name in _FIELDS if name in fields})
        except (ValueError, ValidationError) as error:
            raise ModelError(f"{METADATA} cannot be run: {error}") from error

    def windows(self, shape: tuple[int, ...]) -> WindowRules:
        """Return the windows for a volume of ``shape``; one window if ``spatial_shape`` says so.

        Each pass has one window, because a network may have been exported with a batch of one.
        """
        roi = [
            wanted if isinstance(wanted, int) else _next_multiple(length, wanted)
            for wanted, length in zip(self.spatial_shape, shape, strict=True)
        ]
        return WindowRules(
            (roi[0], roi[1], roi[2]), (self.overlap,) * 3, mode="gaussian", sw_batch_size=1
        )

    def grid(self, shape: tuple[int, ...], affine: Affine) -> tuple[tuple[int, int, int], Affine]:
        """Return the network's grid for a scan: its shape, and the matrix to the scan's voxels.

        Args:
            shape: The scan's shape.
            affine: 4x4, from the scan's voxels to RAS+ millimetres.

        Raises:
            BadScan: The grid would be too large for any worker.
        """
        order = nib.orientations.io_orientation(affine)
        wanted = nib.orientations.axcodes2ornt(self.orientation) if self.orientation else order
        turn = nib.orientations.ornt_transform(order, wanted)
        lengths = np.empty(3)
        lengths[turn[:, 0].astype(int)] = shape
        to_scan = nib.orientations.inv_ornt_aff(turn, shape)
        edges_mm = np.linalg.norm((affine @ to_scan)[:3, :3], axis=0)
        scale = np.array(self.spacing) / edges_mm if self.spacing is not None else np.ones(3)
        check_grid(lengths / scale)
        new_shape = np.maximum(1, np.ceil(lengths / scale - 1e-6)).astype(int)
        stretch = np.diag([*scale, 1.0])
        stretch[:3, 3] = (scale - 1) / 2  # so that both grids begin at the same outer face
        return (
            (int(new_shape[0]), int(new_shape[1]), int(new_shape[2])),
            np.asarray(to_scan @ stretch, dtype=np.float64),
        )

    def normalised(self, image: Tensor) -> Tensor:
        """Return ``[C, D, H, W]`` normalised, channel by channel; constant channels become 0."""
        if self.normalization == "none":
            return image
        return torch.stack([self._normalised(channel) for channel in image])

    def _normalised(self, channel: Tensor) -> Tensor:
        if self.normalization == "unit-range":
            low, span = channel.min(), channel.max() - channel.min()
            return (channel - low) / span if span > 0 else torch.zeros_like(channel)
        chosen = channel != 0 if self.normalization == "z-score-nonzero" else channel == channel
        values = channel[chosen]
        deviation = values.std(correction=0) if values.numel() > 1 else torch.tensor(0.0)
        if deviation <= 0:
            return torch.zeros_like(channel)
        return torch.where(chosen, (channel - values.mean()) / deviation, 0.0)


def _next_multiple(length: int, wanted: str) -> int:
    match = _MULTIPLE.fullmatch(wanted)
    factor = int(match[1]) if match else 1
    return max(factor, -(-length // factor) * factor)
