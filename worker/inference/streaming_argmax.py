"""The likeliest label of every voxel, kept in place of what each label has to say.

A hundred labels are a hundred volumes of floats; their argmax is one of bytes. It is taken of each
slab of an answer as soon as that is final, a few planes at a time, by the very transforms that
would have had the whole. That is sound where they look at each voxel by itself, as activations and
an argmax do. The probability of anything being there is gathered on the way.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shared.bundles.model_card import ModelLabel
from worker.volume.label_map import PresenceScore

#: Values of an answer that are looked at together: 64 MB of them.
_PIECE = 1 << 24


@dataclass(frozen=True)
class LikeliestLabels:
    """Label values ``[1, I, J, K]``, and what tells how sure the model is of anything."""

    labels: Tensor
    suspicion: PresenceScore


class StreamingArgmax:
    """An `OutputSink` that keeps `LikeliestLabels`.

    Args:
        argmax: Maps ``[L, n, J, K]`` to label values ``[1, n, J, K]``, voxel by voxel.
        labels: What the channels stand for, after a background if there is one.
        voxel_ml: The volume of a voxel of the answer.
    """

    def __init__(
        self, argmax: Callable[[Tensor], Tensor], labels: Sequence[ModelLabel], voxel_ml: float
    ) -> None:
        self._argmax = argmax
        self._suspicion = PresenceScore(labels, voxel_ml)
        self._kept: list[Tensor] = []

    def take(self, slab: Tensor, planes: int) -> None:
        """See `worker.inference.outputs.OutputSink`."""
        # as many labels as a byte can tell apart; of more than those each needs four
        kind = torch.uint8 if slab.shape[0] <= 256 else torch.int32
        planes_at_once = max(1, _PIECE // slab[:, 0].numel())
        for piece in torch.split(slab, planes_at_once, dim=1):
            self._kept.append(self._argmax(piece).to("cpu", kind))
            self._suspicion.see(piece)

    def result(self) -> LikeliestLabels:
        """Return what was kept."""
        return LikeliestLabels(torch.cat(self._kept, dim=1), self._suspicion)
