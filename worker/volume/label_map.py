"""From a network's output to one label volume, its statistics and a probability.

The output may be one channel of label values; one channel a label with a background, of which the
highest is taken; or overlapping regions. Of regions the larger is painted first, so that the inner
ones stay visible; each is measured whole.
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

#: The presence score is the mean probability of the likeliest voxels of this volume (millilitres).
_SCORED_ML = 1.0
#: Planes of an output that are processed together.
_PLANES = 16


def segmentation(
    output: Tensor, affine: Affine, labels: Sequence[ModelLabel], probability: float
) -> Segmentation:
    """Return the result that an output means.

    Args:
        output: ``[L, I, J, K]`` in the scan's grid: label values if L is 1, else one channel a
            label, led by the background if there is one more than labels.
        affine: 4x4, from voxel indices to RAS+ millimetres.
        labels: The labels that the mask may have.
        probability: That any label is present; changed to agree with the mask.

    Raises:
        ModelError: The output does not fit the labels, or has a value that a mask cannot hold.
    """
    if output.shape[0] == 1 or has_background(output, labels):
        mask = _label_values(output)
        measured = label_statistics(mask, affine, _with_unnamed(labels, mask))
    else:
        mask, measured = _painted(output, affine, labels)
    if measured:
        return Segmentation(mask, True, max(probability, 0.5), measured)
    return empty_segmentation(mask, probability)


def has_background(output: Tensor, labels: Sequence[ModelLabel]) -> bool:
    """Tell whether the first of the channels ``[L, ...]`` is the background."""
    return output.shape[0] == len(labels) + 1 and output.shape[0] > 1


def to_probabilities(output: Tensor, *, exclusive: bool) -> Tensor:
    """Return probabilities ``[L, ...]``, from logits or from probabilities.

    Args:
        output: ``[L, ...]``; logits if any value is outside 0 to 1.
        exclusive: Whether a voxel has one label only (softmax) or may have several (sigmoid).
    """
    output = output.float()
    if _are_probabilities(output):
        return output
    return torch.softmax(output, dim=0) if exclusive else torch.sigmoid(output)


def channel_probabilities(output: Tensor, *, exclusive: bool) -> Iterator[Tensor]:
    """Yield `to_probabilities` channel by channel, so that they are never all in memory."""
    if _are_probabilities(output):
        yield from output.float()
    elif not exclusive:
        yield from (torch.sigmoid(channel.float()) for channel in output)
    else:
        scale = torch.logsumexp(output, dim=0)
        yield from (torch.exp(channel - scale) for channel in output)


class PresenceScore:
    """How sure a model is that any label is present, gathered from slabs of its output.

    It is the mean probability of being any label over the likeliest millilitre. It is used for
    models without a presence head, and is not calibrated.

    Args:
        labels: What the channels stand for, after a background if there is one.
        voxel_ml: The volume of a voxel.
    """

    def __init__(self, labels: Sequence[ModelLabel], voxel_ml: float) -> None:
        self._labels = labels
        self._count = max(1, round(_SCORED_ML / voxel_ml))
        # Whether values are logits is known only at the end, so both readings are kept until then.
        self._if_logits = self._if_probabilities = torch.empty(0)
        self._low, self._high = torch.inf, -torch.inf

    def add(self, slab: Tensor) -> None:
        """Include a part ``[L, ...]`` of the network's output."""
        slab = slab.float()
        self._low = min(self._low, float(slab.min()))
        self._high = max(self._high, float(slab.max()))
        if has_background(slab, self._labels):
            if_probabilities, if_logits = 1 - slab[0], 1 - torch.softmax(slab, dim=0)[0]
        else:
            if_probabilities = slab.amax(dim=0)
            if_logits = torch.sigmoid(if_probabilities)
        self._if_probabilities = self._highest(self._if_probabilities, if_probabilities)
        self._if_logits = self._highest(self._if_logits, if_logits)

    def probability(self) -> float:
        """Return the score of all slabs so far.

        Raises:
            RuntimeError: No slab was added.
            InferenceFailed: The output has values that are not numbers.
        """
        if not self._if_logits.numel():
            raise RuntimeError("No part of the output was added.")
        if bool(self._if_logits.isnan().any()):  # topk sorts NaN as the highest
            raise InferenceFailed("The network's answer holds values that are no numbers (NaN).")
        probabilities = self._low >= 0 and self._high <= 1
        return float((self._if_probabilities if probabilities else self._if_logits).mean())

    def _highest(self, known: Tensor, added: Tensor) -> Tensor:
        added = added.flatten()
        highest = torch.cat([known, added.topk(min(self._count, added.numel())).values.cpu()])
        return highest.topk(min(self._count, highest.numel())).values


def presence_probability(output: Tensor, labels: Sequence[ModelLabel], voxel_ml: float) -> float:
    """Return the `PresenceScore` of a whole output ``[L, I, J, K]``."""
    score = PresenceScore(labels, voxel_ml)
    for planes in torch.split(output, _PLANES, dim=1):
        score.add(planes)
    return score.probability()


def _are_probabilities(output: Tensor) -> bool:
    return float(output.min()) >= 0 and float(output.max()) <= 1


def _label_values(output: Tensor) -> Mask:
    values = output[0].float().round() if output.shape[0] == 1 else output.argmax(dim=0)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 255):
        raise ModelError(
            f"The model's answer has values from {low:g} to {high:g}; a mask holds 0 to 255. "
            "Its postprocessing should end with labels."
        )
    return np.asfortranarray(values.to(torch.uint8).numpy())


def _with_unnamed(labels: Sequence[ModelLabel], mask: Mask) -> list[ModelLabel]:
    named = {label.value for label in labels}
    present = np.flatnonzero(np.bincount(mask.ravel(order="K"), minlength=256))
    unnamed = [ModelLabel(value=int(v), name=f"label {v}") for v in present if v and v not in named]
    return [*labels, *unnamed]


def _painted(
    output: Tensor, affine: Affine, labels: Sequence[ModelLabel]
) -> tuple[Mask, list[LabelStats]]:
    if output.shape[0] != len(labels):
        raise ModelError(
            f"The model answers with {output.shape[0]} channels, and its card names "
            f"{len(labels)} labels; they should be as many, or one more for the background."
        )
    regions: list[NDArray[np.bool_]] = [
        channel.numpy() > 0.5 for channel in to_probabilities(output, exclusive=False)
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
