"""The channels of one scan: volumes of the same head, in the grid of the first one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.bundles.model_card import ModelCard
from shared.errors import BadScan
from shared.volumes.geometry import is_same_grid
from worker.volume.resample import Affine, sample_affine

#: One channel: intensities ``[I, J, K]``, slope and intercept applied, and their 4x4 affine.
Channel = tuple[NDArray[np.generic], Affine]


def on_first_grid(channels: Sequence[Channel], card: ModelCard) -> list[NDArray[np.generic]]:
    """Return the volumes in the first channel's grid.

    Args:
        channels: One for each of the card's inputs, in its order.
        card: Its ``resample_inputs`` says whether other grids are resampled (linearly).

    Raises:
        BadScan: A channel has another grid, and the model does not resample.
    """
    (first, affine), *others = channels
    volumes = [first]
    for channel, (data, other) in zip(card.inputs[1:], others, strict=True):
        if is_same_grid(data.shape, other, first.shape, affine):
            volumes.append(data)
        elif card.resample_inputs:
            to_channel = np.asarray(np.linalg.inv(other) @ affine, dtype=np.float64)
            source = np.ascontiguousarray(data, dtype=np.float32)
            volumes.append(sample_affine(source, first.shape, to_channel))
        else:
            raise BadScan(
                f"The channel {channel.name} is in a different grid than {card.inputs[0].name}; "
                "this model needs all channels in one grid."
            )
    return volumes
