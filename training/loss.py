"""The loss that training minimises."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

#: A tumour fills a hundredth of the grid, so its voxels have three times the weight.
POSITIVE_WEIGHT = 3.0
#: Voxels added to both sides of Dice, so that the noise of a tiny tumour does not dominate the
#: gradient.
DICE_SMOOTHING = 100.0
PRESENCE_SHARE = 0.5
#: Voxels (8 ml) at which a false alarm costs half of its maximum.
ALARM_SCALE = 1000.0
ALARM_SHARE = 0.5
OUTLINE_SHARE = 2.0
BRAIN_SHARE = 0.3
#: Half of the samples have none.
DICE_SHARE = 2.0
#: A smaller part of a tumour, at the edge of a crop, does not count as a tumour (voxels).
LEAST_EVIDENCE = 30


@dataclass(frozen=True)
class Loss:
    """The sum to minimise and its parts."""

    total: Tensor
    outline: Tensor
    dice: Tensor
    presence: Tensor
    brain: Tensor


def loss_of(outline: Tensor, presence: Tensor, masks: Tensor) -> Loss:
    """Compare logits ``[N, 2, D, H, W]`` and ``[N]`` with masks ``[N, 2, D, H, W]`` (0 or 1).

    The first channel is the tumour, the second the whole brain: a network that knows where the
    brain is finds no tumour in the scalp.

    Dice counts only for samples with a tumour. For the others every mask except the empty one would
    be equally bad, and the network would learn to return empty masks everywhere. For them the
    volume of the false alarm counts, with a slope that is steep only for small volumes.
    """
    outline, presence = outline.float(), presence.float()
    tumour, brain = masks[:, :1], masks[:, 1:]
    weight = torch.tensor(POSITIVE_WEIGHT)
    by_voxel = F.binary_cross_entropy_with_logits(outline[:, :1], tumour, pos_weight=weight)
    probability = torch.sigmoid(outline[:, :1])
    dice_each = 1 - soft_dice(probability, tumour)
    has_tumour = (tumour.flatten(1).sum(dim=1) >= LEAST_EVIDENCE).float()
    dice = (dice_each * has_tumour).mean()
    volume = probability.flatten(1).sum(dim=1)
    alarm = (volume / (volume + ALARM_SCALE) * (1 - has_tumour)).mean()
    present = F.binary_cross_entropy_with_logits(presence, has_tumour)
    inside = F.binary_cross_entropy_with_logits(outline[:, 1:], brain)
    total = OUTLINE_SHARE * by_voxel + DICE_SHARE * dice + ALARM_SHARE * alarm
    total = total + PRESENCE_SHARE * present + BRAIN_SHARE * inside
    return Loss(total, by_voxel, dice, present, inside)


def soft_dice(probability: Tensor, masks: Tensor) -> Tensor:
    """Return Dice per sample, smoothed."""
    shared = (probability * masks).flatten(1).sum(dim=1)
    both = probability.flatten(1).sum(dim=1) + masks.flatten(1).sum(dim=1)
    return (2 * shared + DICE_SMOOTHING) / (both + DICE_SMOOTHING)
