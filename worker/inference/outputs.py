"""What is kept of a network's answer, taken in as its planes become final.

An answer comes as slabs along the first axis, in order. `WholeOutput` keeps every value, for a
postprocessing that wants them; :mod:`worker.inference.streaming_argmax` keeps one label a voxel.
"""

from typing import Protocol

import torch
from torch import Tensor


class OutputSink(Protocol):
    """Takes one scan's answer in."""

    def take(self, slab: Tensor, planes: int) -> None:
        """Take the next planes ``[L, n, J, K]``, float32, of an answer of ``planes`` in all.

        The slab's memory is used again as soon as this returns, unless it is the whole answer.
        """


class WholeOutput:
    """Keeps an answer ``[L, I, J, K]`` as it is, in the computer's own memory."""

    def __init__(self) -> None:
        self._values: Tensor | None = None
        self._filled = 0

    def take(self, slab: Tensor, planes: int) -> None:
        """See `OutputSink`."""
        if slab.shape[1] == planes:
            self._values, self._filled = slab.cpu(), planes
            return
        if self._values is None:
            self._values = torch.empty((slab.shape[0], planes, *slab.shape[2:]))
        self._values[:, self._filled : self._filled + slab.shape[1]] = slab
        self._filled += slab.shape[1]

    def result(self) -> Tensor:
        """Return the answer.

        Raises:
            RuntimeError: It is not complete yet.
        """
        if self._values is None or self._filled != self._values.shape[1]:
            raise RuntimeError("The answer is not complete yet.")
        return self._values
