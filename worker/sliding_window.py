"""A volume larger than the network's window: windows cut from it, and their answers blended.

Planning, cutting and blending know nothing of a network, so windows of several scans may share a
forward pass: plan each scan, cut any of its windows with `cut`, and hand each answer to its scan's
`Blend`. `sliding_window` does it for one scan. The result is that of MONAI's
``sliding_window_inference``, whose parameters have the same names and meanings here.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from shared.errors import ModelError

#: The least weight of a window's voxel, so that a corner seen by one window alone is not lost.
_LEAST_WEIGHT = 1e-3

_PADDING_MODES = ("constant", "reflect", "replicate", "circular")
_BLEND_MODES = ("constant", "gaussian")

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class WindowRules:
    """How windows are laid and blended.

    ``roi_size`` is the window; an axis that is 0 or less takes the volume's length. ``overlap``
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
    """Where the windows lie in the padded volume, in order: ``starts`` are their low corners.

    ``pad_low`` voxels are added before each axis of the volume of ``shape``; the padded volume
    has ``padded_shape``.
    """

    shape: Triple
    pad_low: Triple
    padded_shape: Triple
    window: Triple
    starts: tuple[Triple, ...]


def plan_windows(shape: Sequence[int], rules: WindowRules) -> WindowPlan:
    """Lay windows over a volume so that every voxel is in at least one."""
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
    return padded[(slice(None), *_place(plan, index))]


def window_weights(window: Triple, rules: WindowRules, device: torch.device) -> Tensor:
    """Return how much each voxel of a window counts, of the window's shape, above zero."""
    weights = torch.ones(window, device=device)
    if rules.mode == "constant":
        return weights
    for axis, (length, scale) in enumerate(zip(window, rules.sigma_scale, strict=True)):
        distance = torch.arange(length, device=device) - (length - 1) / 2
        bell = torch.exp(-(distance**2) / (2 * (scale * length) ** 2))
        weights = weights * bell.reshape([-1 if other == axis else 1 for other in range(3)])
    return weights.clamp(min=max(float(weights.min()), _LEAST_WEIGHT))


class Blend:
    """The weighted mean of one scan's windows, gathered as they come and in any order.

    It holds one sum of the padded volume's size for each output channel, whatever the number of
    windows.
    """

    def __init__(self, plan: WindowPlan, rules: WindowRules, device: torch.device) -> None:
        self._plan = plan
        self._weights = window_weights(plan.window, rules, device)
        self._total = torch.zeros(plan.padded_shape, device=device)
        self._sum: Tensor | None = None
        self._missing = set(range(len(plan.starts)))

    def add(self, index: int, answer: Tensor) -> None:
        """Take the network's answer ``[L, *plan.window]`` to window ``index``.

        Raises:
            ModelError: The answer has another shape than its window.
        """
        if tuple(answer.shape[1:]) != self._plan.window:
            raise ModelError(
                f"The network answers a window of {self._plan.window} voxels with "
                f"{tuple(answer.shape[1:])}; it must keep the window's size."
            )
        if self._sum is None:
            shape = (answer.shape[0], *self._plan.padded_shape)
            self._sum = torch.zeros(shape, device=self._total.device)
        place = _place(self._plan, index)
        self._sum[(slice(None), *place)] += answer.to(self._sum) * self._weights
        self._total[place] += self._weights
        self._missing.discard(index)

    @property
    def is_complete(self) -> bool:
        """Whether every window has been answered."""
        return not self._missing

    def result(self) -> Tensor:
        """Return the blended answer ``[L, I, J, K]``, padding cut off.

        Raises:
            RuntimeError: A window has not been answered yet.
        """
        if self._sum is None or self._missing:
            raise RuntimeError(f"{len(self._missing)} windows have not been answered yet.")
        self._sum /= self._total
        inside = tuple(
            slice(low, low + length)
            for low, length in zip(self._plan.pad_low, self._plan.shape, strict=True)
        )
        return self._sum[(slice(None), *inside)]


def sliding_window(
    volume: Tensor, network: Callable[[Tensor], Tensor], rules: WindowRules
) -> Tensor:
    """Run a network over one volume, ``sw_batch_size`` windows at a time.

    Args:
        volume: ``[C, I, J, K]``.
        network: Maps ``[N, C, *window]`` to ``[N, L, *window]``.
        rules: The windows.

    Returns:
        ``[L, I, J, K]``, float32.
    """
    plan = plan_windows(volume.shape[1:], rules)
    padded = pad(volume, plan, rules)
    blend = Blend(plan, rules, volume.device)
    for first in range(0, len(plan.starts), rules.sw_batch_size):
        indexes = range(first, min(first + rules.sw_batch_size, len(plan.starts)))
        answers = network(torch.stack([cut(padded, plan, index) for index in indexes]))
        for index, answer in zip(indexes, answers, strict=True):
            blend.add(index, answer)
    return blend.result()


def _starts(length: int, window: int, overlap: float) -> list[int]:
    """Return where windows start along one axis; the last one ends with the axis."""
    step = window if window == length else max(1, int(window * (1 - overlap)))
    starts = list(range(0, length - window, step))
    return [*starts, length - window]


def _place(plan: WindowPlan, index: int) -> tuple[slice, ...]:
    return tuple(
        slice(start, start + wide)
        for start, wide in zip(plan.starts[index], plan.window, strict=True)
    )


def _triple(values: Iterable[int]) -> Triple:
    i, j, k = values
    return int(i), int(j), int(k)
