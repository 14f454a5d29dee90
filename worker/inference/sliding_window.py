"""A volume larger than the network's window: where its windows are, and how voxels are weighted.

Nothing here uses a network: `worker.inference.batched_windows` runs one over the windows, and
`worker.inference.blending` combines the outputs. The result is that of MONAI's
``sliding_window_inference``, whose parameters have the same names and meanings here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from shared.errors import ModelError

#: The least weight of a window's voxel, so that a corner in only one window is not lost.
_LEAST_WEIGHT = 1e-3

_PADDING_MODES = ("constant", "reflect", "replicate", "circular")
_BLEND_MODES = ("constant", "gaussian")

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class WindowRules:
    """How windows are placed and blended.

    ``roi_size`` is the window; where it is 0 or less, the volume's length is used. ``overlap``
    is the share of a window that the next one covers, 0 to below 1, for each axis.
    ``sigma_scale`` is the Gaussian's deviation in window lengths, for each axis.
    """

    roi_size: Triple
    overlap: tuple[float, float, float] = (0.25, 0.25, 0.25)
    mode: str = "constant"
    sigma_scale: tuple[float, float, float] = (0.125, 0.125, 0.125)
    padding_mode: str = "constant"
    cval: float = 0.0
    sw_batch_size: int = 1

    def __post_init__(self) -> None:
        if self.mode not in _BLEND_MODES:
            raise ModelError(f"windows are blended {' or '.join(_BLEND_MODES)}, not {self.mode}.")
        if self.padding_mode not in _PADDING_MODES:
            raise ModelError(f"there is no padding mode {self.padding_mode}.")
        if not all(0 <= share < 1 for share in self.overlap):
            raise ModelError("the overlap of windows is at least 0 and below 1.")
        if self.sw_batch_size < 1:
            raise ModelError("a batch has at least one window.")


@dataclass(frozen=True)
class WindowPlan:
    """Where the windows are in the padded volume: ``starts`` are their low corners.

    Along the first axis they are in ascending order. ``pad_low`` voxels are added before
    each axis of the volume of ``shape``; the padded volume has ``padded_shape``.
    """

    shape: Triple
    pad_low: Triple
    padded_shape: Triple
    window: Triple
    starts: tuple[Triple, ...]


def plan_windows(shape: Sequence[int], rules: WindowRules) -> WindowPlan:
    """Place windows on a volume so that every voxel is in at least one."""
    window = _triple(
        wanted if wanted > 0 else length
        for wanted, length in zip(rules.roi_size, shape, strict=True)
    )
    pad_low = _triple(
        max(wide - length, 0) // 2 for wide, length in zip(window, shape, strict=True)
    )
    padded = _triple(max(wide, length) for wide, length in zip(window, shape, strict=True))
    starts = product(*map(_starts, padded, window, rules.overlap))
    return WindowPlan(_triple(shape), pad_low, padded, window, tuple(map(_triple, starts)))


def pad(volume: Tensor, plan: WindowPlan, rules: WindowRules) -> Tensor:
    """Return the volume ``[C, I, J, K]`` as ``[C, *plan.padded_shape]``."""
    if plan.padded_shape == plan.shape:
        return volume
    sides: list[int] = []
    for axis in (2, 1, 0):  # torch counts axes from the last
        low = plan.pad_low[axis]
        sides += [low, plan.padded_shape[axis] - plan.shape[axis] - low]
    fill = rules.cval if rules.padding_mode == "constant" else None
    return F.pad(volume[None], sides, mode=rules.padding_mode, value=fill)[0]


def cut(padded: Tensor, plan: WindowPlan, index: int) -> Tensor:
    """Return window ``index`` of a padded volume, ``[C, *plan.window]``, as a view."""
    place = (
        slice(start, start + wide)
        for start, wide in zip(plan.starts[index], plan.window, strict=True)
    )
    return padded[(slice(None), *place)]


def window_weights(window: Triple, rules: WindowRules, device: torch.device) -> Tensor:
    """Return the weight of each voxel of a window, above zero."""
    weights = torch.ones(window, device=device)
    if rules.mode == "constant":
        return weights
    for axis, (length, scale) in enumerate(zip(window, rules.sigma_scale, strict=True)):
        distance = torch.arange(length, device=device) - (length - 1) / 2
        bell = torch.exp(-(distance**2) / (2 * (scale * length) ** 2))
        weights = weights * bell.reshape([-1 if other == axis else 1 for other in range(3)])
    return weights.clamp(min=max(float(weights.min()), _LEAST_WEIGHT))


def _starts(length: int, window: int, overlap: float) -> list[int]:
    """Return where windows start along one axis; the last one ends with the axis."""
    step = window if window == length else max(1, int(window * (1 - overlap)))
    starts = list(range(0, length - window, step))
    return [*starts, length - window]


def _triple(values: Iterable[int]) -> Triple:
    i, j, k = values
    return int(i), int(j), int(k)
