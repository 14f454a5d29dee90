"""The likeliest label of every voxel, kept instead of the scores of all labels.

The scores of a hundred labels are a hundred volumes of floats; their argmax is one volume of bytes.
It is computed from each slab of an output as soon as that is final, a few planes at a time, by the
same transforms that would have run on the whole output. That gives the same result if they process
each voxel by itself, as activations and an argmax do. The presence score is gathered along the way.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shared.bundles.model_card import ModelLabel
from worker.volume.label_map import PresenceScore

#: Values of an output that are processed together (64 MB).
_PIECE = 1 << 24


@dataclass(frozen=True)
class LikeliestLabels:
    """Label values ``[1, I, J, K]``, and how sure the model is that any label is present."""

    labels: Tensor
    presence: PresenceScore


class StreamingArgmax:
    """An `OutputSink` that keeps `LikeliestLabels`.

    Args:
        argmax: Maps ``[L, n, J, K]`` to label values ``[1, n, J, K]``, voxel by voxel.
        labels: What the channels stand for, after a background if there is one.
        voxel_ml: The volume of a voxel of the output.
    """

    def __init__(
        self, argmax: Callable[[Tensor], Tensor], labels: Sequence[ModelLabel], voxel_ml: float
    ) -> None:
        self._argmax = argmax
        self._presence = PresenceScore(labels, voxel_ml)
        self._kept: list[Tensor] = []

    def take(self, slab: Tensor, planes: int) -> None:
        """See `worker.inference.outputs.OutputSink`."""
        # a byte can hold 256 labels; more labels need four bytes a voxel
        kind = torch.uint8 if slab.shape[0] <= 256 else torch.int32
        planes_at_once = max(1, _PIECE // slab[:, 0].numel())
        for piece in torch.split(slab, planes_at_once, dim=1):
            self._kept.append(self._argmax(piece).to("cpu", kind))
            self._presence.add(piece)

    def result(self) -> LikeliestLabels:
        """Return the labels of the slabs so far, and the presence score."""
        return LikeliestLabels(torch.cat(self._kept, dim=1), self._presence)
