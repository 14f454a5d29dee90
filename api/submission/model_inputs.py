"""Whether the channels of a scan are what its model takes, and which channel is which input."""

import hashlib
from collections.abc import Mapping, Sequence

from api.submission.channel_writer import ChannelWriter
from shared.bundles.model_card import ModelCard
from shared.errors import BadRequest, BadScan
from shared.volumes.geometry import SAME_GRID_MM, affine_difference_mm
from shared.volumes.nifti_header import VolumeHeader

#: The field that a scan may always have where a model has a single input.
SCAN_FIELD = "scan"


def input_keys(channels: Mapping[str, ChannelWriter], card: ModelCard) -> dict[str, str]:
    """Return the store key of each input of the model ``card``.

    Raises:
        BadRequest: A field is none of the model's inputs.
        BadScan: A channel is missing, or the channels' grids differ.

    """
    inputs = [channel.name for channel in card.inputs]
    by_input = dict(channels)
    if len(inputs) == 1 and SCAN_FIELD in by_input and inputs[0] not in by_input:
        by_input[inputs[0]] = by_input.pop(SCAN_FIELD)
    if unknown := sorted(by_input.keys() - {*inputs, SCAN_FIELD}):
        raise BadRequest(
            f"{card.name} does not take {', '.join(unknown)}; it takes {', '.join(inputs)}."
        )
    if missing := [name for name in inputs if name not in by_input]:
        raise BadScan(
            f"A channel is missing: {', '.join(missing)}. "
            f"{card.name} takes {', '.join(inputs)}, each as a form field of that name "
            "(multipart/form-data)."
        )
    if len(by_input) > len(inputs):
        raise BadRequest(f"{card.name} takes {', '.join(inputs)} and no field {SCAN_FIELD}.")
    if len(inputs) > 1 and not card.resample_inputs:
        _check_same_grid(by_input, inputs)
    return {name: by_input[name].key for name in inputs}


def scan_sha256(channels: Mapping[str, ChannelWriter]) -> str:
    """Return the SHA-256 of the bytes as sent; of several channels, that of their digests."""
    digests = {
        name: channel.inspection.sha256
        for name, channel in channels.items()
        if channel.inspection is not None
    }
    if len(digests) == 1:
        return next(iter(digests.values()))
    lines = "".join(f"{name} {digest}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _check_same_grid(channels: Mapping[str, ChannelWriter], inputs: Sequence[str]) -> None:
    headers = {
        name: channel.inspection.header
        for name, channel in channels.items()
        if channel.inspection is not None
    }
    first = headers[inputs[0]]
    differences = [
        f"{name} has {difference}"
        for name in inputs[1:]
        if (difference := _grid_difference(headers[name], first)) is not None
    ]
    if differences:
        raise BadScan(
            f"The channels are in different grids: {'; '.join(differences)} of {inputs[0]}. "
            "Resample them to one grid before you submit them."
        )


def _grid_difference(header: VolumeHeader, first: VolumeHeader) -> str | None:
    """Describe in numbers how a channel's grid differs from that of the first channel."""
    if header.shape != first.shape:
        return f"{_axes(header.shape)} voxels, not the {_axes(first.shape)}"
    gap_mm = affine_difference_mm(header.affine, first.affine)
    if gap_mm > SAME_GRID_MM:
        return f"an affine that differs by up to {gap_mm:.3g} from that"
    return None


def _axes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
