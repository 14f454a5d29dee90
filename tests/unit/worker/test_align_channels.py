"""Several channels of one scan, resampled to the first one's grid."""

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.bundles.model_card import ModelCard
from shared.errors import BadScan
from tests.support.bundles import METADATA
from worker.volume.align_channels import on_first_grid

INPUTS = [{"name": "t1", "modality": "T1"}, {"name": "t2", "modality": "T2"}]
AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])


def card(**fields: object) -> ModelCard:
    """A model of two inputs."""
    return ModelCard.model_validate({**METADATA, "inputs": INPUTS, "folder": "x", **fields})


def ramp(shape: tuple[int, int, int], affine: NDArray[np.float64]) -> NDArray[np.float32]:
    """A volume that holds each voxel's x + y + z in millimetres."""
    places = np.indices(shape).reshape(3, -1).T @ affine[:3, :3].T + affine[:3, 3]
    return np.asarray(places.sum(axis=1).reshape(shape), dtype=np.float32)


def test_channels_of_one_grid_pass_as_they_are() -> None:
    """Channels whose grids differ only by a header's rounding are not resampled."""
    data = np.zeros((4, 5, 6), np.int16)
    first, second = on_first_grid([(data, AFFINE), (data, AFFINE + 1e-5)], card())
    assert first is data
    assert second is data


@pytest.mark.parametrize("shift", [0.5, 0.0])
def test_another_grid_is_refused_with_the_channel_s_name(shift: float) -> None:
    """Unless the model resamples, a channel of other affine or shape is a fault of the scan."""
    moved = AFFINE.copy()
    moved[0, 3] = shift
    other = np.zeros((4, 5, 6 if shift else 7), np.int16)
    with pytest.raises(BadScan, match="channel t2 is in a different grid than t1"):
        on_first_grid([(np.zeros((4, 5, 6)), AFFINE), (other, moved)], card())


def test_channels_are_resampled_if_the_card_says_so() -> None:
    """A channel of other resolution and origin is resampled linearly to the first one's grid."""
    other = np.diag([1.5, 1.2, 1.0, 1.0])
    other[:3, 3] = [-3, -2, -4]
    source = ramp((20, 20, 30), other)
    expected = ramp((8, 9, 7), AFFINE)
    first = np.zeros((8, 9, 7), np.float32)
    _, drawn = on_first_grid([(first, AFFINE), (source, other)], card(resample_inputs=True))
    np.testing.assert_allclose(np.asarray(drawn, dtype=np.float32), expected, atol=1e-3)
