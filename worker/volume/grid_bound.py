"""A bound on the size of a scan at a model's spacing, checked before the volume is allocated."""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from shared.errors import BadScan

#: Twice the default MAX_VOXELS, so that a body can have the spacing of a head: 1 GiB in float32.
MAX_GRID_VOXELS = 2 * 512**3


def check_grid(shape: Iterable[float]) -> None:
    """Raise BadScan if a volume of this shape is larger than any worker can process."""
    lengths = [float(length) for length in shape]
    if not math.prod(lengths) <= MAX_GRID_VOXELS:
        raise BadScan(
            "At the model's spacing this scan would be "
            f"{' x '.join(f'{length:.0f}' for length in lengths)} voxels, and a worker takes "
            f"{MAX_GRID_VOXELS}. Crop it, or check its voxel size."
        )


class GridBound:
    """A transform that checks whether the spacing that follows makes too large a volume."""

    def __init__(self, keys: Sequence[str], spacing_mm: Sequence[float]) -> None:
        self._keys = keys
        self._spacing_mm = spacing_mm

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return ``data`` unchanged; raises BadScan."""
        for image in (data[key] for key in self._keys if key in data):
            edges = np.linalg.norm(np.asarray(image.affine)[:3, :3], axis=0)
            wanted = np.resize(np.asarray(self._spacing_mm, dtype=np.float64), 3)
            wanted = np.where(wanted > 0, wanted, edges)  # zero or less: unchanged
            check_grid(np.array(image.shape[1:]) * edges / wanted)
        return data


def with_grid_bounds(transforms: Iterable[Any]) -> tuple[Any, ...]:
    """Return MONAI's transforms with a `GridBound` before each that changes the spacing."""
    bounded: list[Any] = []
    for transform in transforms:
        spacing = getattr(transform, "spacing_transform", None)
        if spacing is not None:
            bounded.append(GridBound(transform.keys, spacing.pixdim))
        bounded.append(transform)
    return tuple(bounded)


@contextmanager
def refusals_unwrapped() -> Iterator[None]:
    """Raise a transform's BadScan itself, which MONAI wraps in its own errors."""
    try:
        yield
    except RuntimeError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, BadScan):
            cause = cause.__cause__
        if cause is None:
            raise
        raise cause from None
