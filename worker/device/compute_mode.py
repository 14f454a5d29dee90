"""How a network may be computed, and which mode is chosen from measured times.

A plainer mode is kept unless another one is clearly faster and gives the same mask.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Precision = Literal["fp32", "bf16", "fp16"]
MemoryFormat = Literal["contiguous", "channels_last_3d"]

#: A mode must be faster by at least this share to be chosen.
WORTHWHILE = 0.05
#: A mask must agree with the one in fp32 in at least this share of the voxels.
LEAST_AGREEMENT = 0.999


@dataclass(frozen=True)
class ComputeMode:
    """A number format, the order of the axes in memory, and whether the network is compiled."""

    precision: Precision = "fp32"
    memory_format: MemoryFormat = "contiguous"
    compiled: bool = False


#: The mode that every device supports, and the reference for all others.
PLAIN = ComputeMode()


def candidates(precisions: Sequence[Precision], *, compiled: bool = False) -> list[ComputeMode]:
    """Return the modes to try, the plainest first.

    Args:
        precisions: The number formats that may be used, at least one, the plainest first. Other
            memory formats and compiling are tried only with the fast ones.
        compiled: Whether to try compiling.
    """
    fast = precisions[1:] or precisions
    return [
        *(ComputeMode(precision) for precision in precisions),
        *(ComputeMode(precision, "channels_last_3d") for precision in fast),
        *(ComputeMode(precision, compiled=True) for precision in fast if compiled),
    ]


def fastest(seconds: Mapping[ComputeMode, Sequence[float]]) -> ComputeMode:
    """Return the mode to use.

    Args:
        seconds: What a pass took, by modes in the order of `candidates`: one number for each
            setting in which it was measured, the same settings for all modes.
    """
    plainest = next(iter(seconds.values()))

    def cost(taken: Sequence[float]) -> float:
        return sum(own / plain for own, plain in zip(taken, plainest, strict=True))

    (best, least), *others = ((mode, cost(taken)) for mode, taken in seconds.items())
    for mode, own in others:
        if own < least * (1 - WORTHWHILE):
            best, least = mode, own
    return best


def agreement(mask: NDArray[np.bool_], exact: NDArray[np.bool_]) -> float:
    """Return the share of the voxels in which two masks of one shape agree."""
    return float(np.count_nonzero(mask == exact)) / max(1, mask.size)
