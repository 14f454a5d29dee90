"""How a network may be computed, and which way is taken by what was measured.

Every way has to earn its place: the plainer one stays unless another is clearly faster, and gives
the same mask.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Precision = Literal["fp32", "bf16", "fp16"]
MemoryFormat = Literal["contiguous", "channels_last_3d"]

#: A way that is not so much faster is not taken.
WORTHWHILE = 0.05
#: The least share of voxels in which a mask agrees with the one in fp32.
LEAST_AGREEMENT = 0.999


@dataclass(frozen=True)
class ComputeMode:
    """A number format, the order of the axes in memory, and whether the network is compiled."""

    precision: Precision = "fp32"
    memory_format: MemoryFormat = "contiguous"
    compiled: bool = False


#: What every chip computes and every answer is held against.
PLAIN = ComputeMode()


def candidates(precisions: Sequence[Precision], *, compiled: bool = False) -> list[ComputeMode]:
    """Return the ways to try, the plainest first.

    Args:
        precisions: The number formats that may be used, at least one, the plainest first. Other
            orders of memory and compiling are tried with the fast ones only.
        compiled: Whether compiling is worth a try.
    """
    fast = precisions[1:] or precisions
    return [
        *(ComputeMode(precision) for precision in precisions),
        *(ComputeMode(precision, "channels_last_3d") for precision in fast),
        *(ComputeMode(precision, compiled=True) for precision in fast if compiled),
    ]


def fastest(seconds: Mapping[ComputeMode, Sequence[float]]) -> ComputeMode:
    """Return the way to take.

    Args:
        seconds: What a pass took, by ways in the order of `candidates`: one number for each
            setting that it was measured in, the same settings for all.
    """
    plainest = next(iter(seconds.values()))

    def cost(taken: Sequence[float]) -> float:
        return sum(own / plain for own, plain in zip(taken, plainest, strict=True))

    (best, least), *others = ((way, cost(taken)) for way, taken in seconds.items())
    for way, own in others:
        if own < least * (1 - WORTHWHILE):
            best, least = way, own
    return best


def agreement(mask: NDArray[np.bool_], exact: NDArray[np.bool_]) -> float:
    """Return in what share of the voxels two masks of one shape say the same."""
    return float(np.count_nonzero(mask == exact)) / max(1, mask.size)
