"""The shape of the network and of its outputs."""

import pytest
import torch

from worker.models.brain_tumor.network import (
    STRIDE,
    UNet3D,
    channels_to_cubes,
    cubes_to_channels,
    tumour_probability,
)


@pytest.fixture(scope="module")
def network() -> UNet3D:
    """A narrow network with random weights."""
    torch.manual_seed(0)
    return UNet3D(channels=(4, 6, 8, 10)).eval()


def test_cubes_come_back() -> None:
    """Folding cubes of 2x2x2 voxels into channels and back changes nothing."""
    volumes = torch.randn(2, 3, 4, 6, 8)
    assert torch.equal(channels_to_cubes(cubes_to_channels(volumes)), volumes)


def test_one_output_for_each_scan_on_the_same_grid(network: UNet3D) -> None:
    """A batch of volumes gives one outline of the same size and one presence logit each."""
    with torch.inference_mode():
        outline, presence = network(torch.randn(3, 1, STRIDE, 2 * STRIDE, 3 * STRIDE))
    assert outline.shape == (3, 1, STRIDE, 2 * STRIDE, 3 * STRIDE)
    assert presence.shape == (3,)


def test_a_neighbour_in_the_batch_changes_nothing(network: UNet3D) -> None:
    """A scan gets the same output alone and beside another."""
    images = torch.randn(2, 1, 32, 32, 32)
    with torch.inference_mode():
        together, presence = network(images)
        alone, presence_alone = network(images[:1])
    assert torch.allclose(together[:1], alone, atol=1e-4)
    assert torch.allclose(presence[:1], presence_alone, atol=1e-4)


def test_an_untrained_network_rarely_finds_a_tumour(network: UNet3D) -> None:
    """Before training the outline's bias makes a tumour improbable."""
    assert network.outline.bias is not None
    assert torch.all(network.outline.bias == -2.0)


def test_outside_the_brain_there_is_no_tumour() -> None:
    """If a second channel is sure that there is no brain, the tumour's probability is zero."""
    outline = torch.tensor([[[[[2.0, 2.0, -1.0]]], [[[5.0, -5.0, 5.0]]]]])
    probability = tumour_probability(outline)
    assert probability.shape == (1, 1, 1, 3)
    assert torch.allclose(probability[0, 0, 0], torch.tensor([0.8808, 0.0, 0.2689]), atol=1e-4)
    assert torch.allclose(tumour_probability(outline[:, :1])[0, 0, 0, 1], torch.tensor(0.8808))
