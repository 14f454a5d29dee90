"""Where a network's output for one scan goes, plane by plane as the planes become final.

An output comes as slabs along the first axis, in order. `WholeOutput` keeps every value, for a
postprocessing that needs them; :mod:`worker.inference.streaming_argmax` keeps one label a voxel.
"""

from typing import Protocol

import torch
from torch import Tensor


class OutputSink(Protocol):
    """Receives the network's output for one scan."""

    def take(self, slab: Tensor, planes: int) -> None:
        """Receive the next planes ``[L, n, J, K]``, float32, of an output of ``planes`` planes.

        The slab's memory is reused as soon as this returns, unless the slab is the whole output.
        """


class WholeOutput:
    """Keeps an output ``[L, I, J, K]`` as it is, in the host's memory."""

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
        """Return the output.

        Raises:
            RuntimeError: It is not complete yet.
        """
        if self._values is None or self._filled != self._values.shape[1]:
            raise RuntimeError("The output is not complete yet.")
        return self._values
