"""A model's output for every voxel as one label volume with its statistics."""

import numpy as np
import pytest
import torch
from torch import Tensor

from shared.bundles.model_card import ModelLabel
from shared.errors import InferenceFailed, ModelError
from worker.volume.label_map import (
    channel_probabilities,
    presence_probability,
    segmentation,
    to_probabilities,
)

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
LABELS = [
    ModelLabel(value=1, name="core"),
    ModelLabel(value=2, name="whole"),
    ModelLabel(value=4, name="rim"),
]


def nested() -> Tensor:
    """Three nested cubes with edges of 6, 4 and 2 voxels."""
    answer = torch.zeros(3, 8, 8, 8)
    for channel, margin in ((0, 2), (1, 1), (2, 3)):
        inside = slice(margin, 8 - margin)
        answer[channel, inside, inside, inside] = 1
    return answer


def test_inner_regions_stay_visible_and_each_is_measured_whole() -> None:
    """Overlapping regions are drawn from the largest to the smallest, and measured before."""
    found = segmentation(nested(), AFFINE, LABELS, 0.9)
    assert (found.mask[1, 1, 1], found.mask[2, 2, 2], found.mask[4, 4, 4]) == (2, 1, 4)
    assert [(one.value, one.voxels) for one in found.labels] == [(1, 64), (2, 216), (4, 8)]
    assert found.labels[1].volume_ml == pytest.approx(216 * 8 / 1000)
    assert np.count_nonzero(found.mask) == 216


def test_a_label_map_is_the_mask_as_it_is() -> None:
    """One channel holds label values; a value that the card lacks is reported by its number."""
    values = torch.zeros(1, 4, 4, 4)
    values[0, 0], values[0, 1] = 4.0, 9.0
    found = segmentation(values, AFFINE, LABELS, 0.9)
    assert [(one.value, one.name) for one in found.labels] == [(4, "rim"), (9, "label 9")]
    np.testing.assert_array_equal(found.mask, values[0].numpy())


def test_with_a_background_the_highest_channel_counts() -> None:
    """With one channel more than labels, the first channel is the background."""
    answer = torch.zeros(3, 4, 4, 4)
    answer[0], answer[2, 0] = 0.4, 0.5
    found = segmentation(answer, AFFINE, LABELS[:2], 0.9)
    assert [one.value for one in found.labels] == [2]


@pytest.mark.parametrize("probability", [0.0, 0.3, 0.5, 0.99])
def test_mask_and_presence_agree(probability: float) -> None:
    """A label is present exactly if the mask has it; its probability is then at least a half."""
    for answer in (nested(), torch.zeros(3, 8, 8, 8)):
        found = segmentation(answer, AFFINE, LABELS, probability)
        assert found.present == bool(found.mask.any()) == bool(found.labels)
        assert found.present == (found.probability >= 0.5)


def test_a_value_that_no_mask_can_hold_is_refused() -> None:
    """Values below 0 or above 255 are refused, not wrapped around."""
    for value in (-1.0, 256.0, float("nan")):
        with pytest.raises(ModelError, match="0 to 255"):
            segmentation(torch.full((1, 2, 2, 2), value), AFFINE, LABELS, 0.5)


def test_channels_that_fit_no_labels_are_refused() -> None:
    """A model with more output channels than the card has labels is refused."""
    with pytest.raises(ModelError, match="5 channels"):
        segmentation(torch.zeros(5, 2, 2, 2), AFFINE, LABELS, 0.5)


def test_logits_become_probabilities_and_probabilities_stay() -> None:
    """Values outside 0 to 1 are logits: softmax for exclusive labels, else sigmoid."""
    logits = torch.tensor([[-2.0], [3.0]])
    torch.testing.assert_close(to_probabilities(logits, exclusive=True), logits.softmax(0))
    torch.testing.assert_close(to_probabilities(logits, exclusive=False), logits.sigmoid())
    kept = torch.tensor([[0.2], [0.9]])
    assert to_probabilities(kept, exclusive=True) is kept


def test_the_most_probable_millilitre_gives_the_probability() -> None:
    """The probability is that of the most probable millilitre, not of a single voxel."""
    answer = torch.zeros(3, 10, 10, 10)
    answer[1, 0, 0, 0] = 1.0
    assert presence_probability(answer, LABELS, voxel_ml=0.01) == pytest.approx(0.01)
    answer[1, 1] = 1.0
    assert presence_probability(answer, LABELS, voxel_ml=0.01) == pytest.approx(1.0)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_probabilities_by_parts_are_those_of_the_whole(channels: int, scale: float) -> None:
    """Processing planes or channels one by one gives the result of the whole output."""
    answer = scale * torch.rand((channels, 40, 6, 5), generator=torch.Generator().manual_seed(1))
    exclusive = channels == 4
    whole = to_probabilities(answer, exclusive=exclusive)
    by_channel = torch.stack(list(channel_probabilities(answer, exclusive=exclusive)))
    torch.testing.assert_close(by_channel, whole)
    score = 1 - whole[0] if exclusive else whole.amax(dim=0)
    expected = float(score.flatten().sort(descending=True).values[:100].mean())
    assert presence_probability(answer, LABELS, voxel_ml=0.01) == pytest.approx(expected)


@pytest.mark.parametrize("channels", [3, 4])
def test_an_output_that_is_not_a_number_is_refused(channels: int) -> None:
    """A NaN in the output fails the scan with a reason."""
    answer = torch.zeros(channels, 20, 4, 4)
    answer[1, 18, 2, 2] = torch.nan
    with pytest.raises(InferenceFailed, match="no numbers"):
        presence_probability(answer, LABELS, voxel_ml=0.01)
