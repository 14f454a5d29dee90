"""From what a model says of every voxel to one label volume, its statistics and a probability.

A model may answer with one channel of label values, with one channel a label and a background
among them, of which the highest counts, or with overlapping regions. Of regions the larger is
painted first, so that the inner ones stay visible; each is measured whole.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.bundles.model_card import ModelLabel
from shared.errors import InferenceFailed, ModelError
from shared.results import LabelStats
from worker.volume.postprocess import (
    Mask,
    Segmentation,
    empty_segmentation,
    label_statistics,
)
from worker.volume.resample import Affine

#: The volume that has to look like a lesion to make one likely, in millilitres.
_LEAST_SIGHT_ML = 1.0
#: Planes of an answer that are looked at together.
_PLANES = 16


def segmentation(
    answer: Tensor, affine: Affine, labels: Sequence[ModelLabel], probability: float
) -> Segmentation:
    """Return the answer in the form that every model's has.

    Args:
        answer: ``[L, I, J, K]`` in the scan's grid: label values if L is 1, else one channel a
            label, led by the background if there is one more than labels.
        affine: 4x4, from voxel indices to RAS+ millimetres.
        labels: What the mask may show.
        probability: Of anything being there; brought into agreement with the mask.

    Raises:
        ModelError: The answer does not fit the labels, or a value is none that a mask can hold.
    """
    if answer.shape[0] == 1 or has_background(answer, labels):
        mask = _label_values(answer)
        measured = label_statistics(mask, affine, _with_unnamed(labels, mask))
    else:
        mask, measured = _painted(answer, affine, labels)
    if measured:
        return Segmentation(mask, True, max(probability, 0.5), measured)
    return empty_segmentation(mask, probability)


def has_background(answer: Tensor, labels: Sequence[ModelLabel]) -> bool:
    """Tell whether the first of the channels ``[L, ...]`` is the background."""
    return answer.shape[0] == len(labels) + 1 and answer.shape[0] > 1


def to_probabilities(answer: Tensor, *, exclusive: bool) -> Tensor:
    """Return probabilities ``[L, ...]``, from logits or from what are probabilities already.

    Args:
        answer: ``[L, ...]``; logits if any value lies outside 0 to 1.
        exclusive: Whether a voxel has one label only (softmax) or may have several (sigmoid).
    """
    answer = answer.float()
    if float(answer.min()) >= 0 and float(answer.max()) <= 1:
        return answer
    return torch.softmax(answer, dim=0) if exclusive else torch.sigmoid(answer)


def channel_probabilities(answer: Tensor, *, exclusive: bool) -> Iterator[Tensor]:
    """Yield `to_probabilities` of one channel after another, and never hold all of them."""
    if float(answer.min()) >= 0 and float(answer.max()) <= 1:
        yield from answer.float()
    elif not exclusive:
        yield from (torch.sigmoid(channel.float()) for channel in answer)
    else:
        scale = torch.logsumexp(answer, dim=0)
        yield from (torch.exp(channel - scale) for channel in answer)


class PresenceScore:
    """How sure a model is that anything is there at all, gathered from slabs of its answer.

    It is the mean probability, of being any label, over the most suspicious millilitre: a model
    without a presence head has nothing better to say, and it is not calibrated.

    Args:
        labels: What the channels stand for, after a background if there is one.
        voxel_ml: The volume of a voxel.
    """

    def __init__(self, labels: Sequence[ModelLabel], voxel_ml: float) -> None:
        self._labels = labels
        self._count = max(1, round(_LEAST_SIGHT_ML / voxel_ml))
        # Whether values are logits shows only at the end, so both readings are kept till then.
        self._if_logits = self._if_probabilities = torch.empty(0)
        self._low, self._high = torch.inf, -torch.inf

    def see(self, slab: Tensor) -> None:
        """Look at a part ``[L, ...]`` of the network's output."""
        slab = slab.float()
        self._low = min(self._low, float(slab.min()))
        self._high = max(self._high, float(slab.max()))
        if has_background(slab, self._labels):
            plain, softened = 1 - slab[0], 1 - torch.softmax(slab, dim=0)[0]
        else:
            plain = slab.amax(dim=0)
            softened = torch.sigmoid(plain)
        self._if_probabilities = self._most_suspicious(self._if_probabilities, plain)
        self._if_logits = self._most_suspicious(self._if_logits, softened)

    def probability(self) -> float:
        """Return the probability of what has been seen.

        Raises:
            RuntimeError: Nothing has been seen.
            InferenceFailed: The answer holds values that are no numbers.
        """
        if not self._if_logits.numel():
            raise RuntimeError("Nothing has been seen of the answer.")
        if bool(self._if_logits.isnan().any()):  # topk takes them for the highest
            raise InferenceFailed("The network's answer holds values that are no numbers (NaN).")
        probabilities = self._low >= 0 and self._high <= 1
        return float((self._if_probabilities if probabilities else self._if_logits).mean())

    def _most_suspicious(self, known: Tensor, seen: Tensor) -> Tensor:
        seen = seen.flatten()
        best = torch.cat([known, seen.topk(min(self._count, seen.numel())).values.cpu()])
        return best.topk(min(self._count, best.numel())).values


def presence_probability(answer: Tensor, labels: Sequence[ModelLabel], voxel_ml: float) -> float:
    """Return the `PresenceScore` of a whole output ``[L, I, J, K]``, looked at plane by plane."""
    suspicion = PresenceScore(labels, voxel_ml)
    for planes in torch.split(answer, _PLANES, dim=1):
        suspicion.see(planes)
    return suspicion.probability()


def _label_values(answer: Tensor) -> Mask:
    values = answer[0].float().round() if answer.shape[0] == 1 else answer.argmax(dim=0)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 255):
        raise ModelError(
            f"The model's answer has values from {low:g} to {high:g}; a mask holds 0 to 255. "
            "Its postprocessing should end with labels."
        )
    return np.asfortranarray(values.to(torch.uint8).numpy())


def _with_unnamed(labels: Sequence[ModelLabel], mask: Mask) -> list[ModelLabel]:
    known = {label.value for label in labels}
    shown = np.flatnonzero(np.bincount(mask.ravel(order="K"), minlength=256))
    unnamed = [ModelLabel(value=int(v), name=f"label {v}") for v in shown if v and v not in known]
    return [*labels, *unnamed]


def _painted(
    answer: Tensor, affine: Affine, labels: Sequence[ModelLabel]
) -> tuple[Mask, list[LabelStats]]:
    if answer.shape[0] != len(labels):
        raise ModelError(
            f"The model answers with {answer.shape[0]} channels, and its card names "
            f"{len(labels)} labels; they should be as many, or one more for the background."
        )
    regions: list[NDArray[np.bool_]] = [
        channel.numpy() > 0.5 for channel in to_probabilities(answer, exclusive=False)
    ]
    mask = np.zeros(regions[0].shape, dtype=np.uint8, order="F")
    measured = []
    by_size = sorted(
        zip(labels, regions, strict=True), key=lambda pair: -int(np.count_nonzero(pair[1]))
    )
    for label, region in by_size:
        mask[region] = label.value
        measured += label_statistics(region.astype(np.uint8) * label.value, affine, [label])
    return mask, sorted(measured, key=lambda label: label.value)
