"""What training minimises."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

#: A tumour fills a hundredth of the grid: its voxels count threefold.
POSITIVE_WEIGHT = 3.0
#: Voxels added to both sides of Dice, so that a tiny tumour's noise does not rule the gradient.
DICE_SMOOTHING = 100.0
PRESENCE_SHARE = 0.2
OUTLINE_SHARE = 2.0


@dataclass(frozen=True)
class Loss:
    """The sum to minimise and its parts."""

    total: Tensor
    outline: Tensor
    dice: Tensor
    presence: Tensor


def loss_of(outline: Tensor, presence: Tensor, masks: Tensor) -> Loss:
    """Compare logits ``[N, 1, D, H, W]`` and ``[N]`` with masks ``[N, 1, D, H, W]`` (0 or 1).

    Dice counts only the samples that have a tumour: on the others every mask but the empty one
    is equally bad, which drives a network to emptiness everywhere.
    """
    outline, presence = outline.float(), presence.float()
    weight = torch.tensor(POSITIVE_WEIGHT)
    by_voxel = F.binary_cross_entropy_with_logits(outline, masks, pos_weight=weight)
    dice_each = 1 - soft_dice(torch.sigmoid(outline), masks)
    has_tumour = masks.flatten(1).amax(dim=1)
    dice = (dice_each * has_tumour).sum() / has_tumour.sum().clamp(min=1)
    present = F.binary_cross_entropy_with_logits(presence, has_tumour)
    total = OUTLINE_SHARE * by_voxel + dice + PRESENCE_SHARE * present
    return Loss(total, by_voxel, dice, present)


def soft_dice(probability: Tensor, masks: Tensor) -> Tensor:
    """Return Dice per sample, smoothed."""
    shared = (probability * masks).flatten(1).sum(dim=1)
    both = probability.flatten(1).sum(dim=1) + masks.flatten(1).sum(dim=1)
    return (2 * shared + DICE_SMOOTHING) / (both + DICE_SMOOTHING)
