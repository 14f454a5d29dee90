"""A bundle's metadata, in VoxelQ's own form or in that of MONAI's model zoo.

VoxelQ's form has ``inputs`` and ``labels`` at the top. The zoo's form describes them under
``network_data_format``, channel by channel. Where both are given, VoxelQ's form is used.
"""

import ast
import re
from pathlib import Path
from typing import Any

from shared.bundles.config import Configuration, evaluated_parts
from shared.bundles.expressions import dotted, is_expression, parse
from shared.bundles.files import read_bytes
from shared.errors import ModelError

NAME = r"^[a-z0-9][a-z0-9_-]*$"

#: More channels than any scan or network has.
MAX_CHANNELS = 256
_LICENCE_BYTES = 1 << 16

_BACKGROUND = re.compile(r"\s*(background|bg|everything else|others?)\b", re.IGNORECASE)
_LICENCE_FILES = ("LICENSE", "LICENSE.txt", "docs/license.txt", "docs/LICENSE", "license.txt")
_LICENCES = (
    ("Apache License", "Apache-2.0"),
    ("MIT License", "MIT"),
    ("BSD 3-Clause", "BSD-3-Clause"),
    ("Creative Commons", "Creative Commons"),
)


def card_fields(
    metadata: dict[str, Any], configuration: Configuration | None, folder: Path
) -> dict[str, Any]:
    """Return the fields of a `model_card.ModelCard`, whichever form the metadata has.

    Args:
        metadata: The content of ``configs/metadata.json``.
        configuration: The bundle's validated configuration, if it has one.
        folder: The bundle's folder ``<name>/<version>``, whose names fill in missing fields.

    Raises:
        ModelError: ``network_data_format`` cannot be read.
    """
    if "network_data_format" not in metadata:
        return metadata
    name = metadata.get("name")
    # MONAI's name may be a sentence; the folder's name is used then.
    if not isinstance(name, str) or not re.match(NAME, name):
        name = folder.parent.name.lower()
    derived = {
        "version": folder.name,
        "description": metadata.get("task", name),
        "inputs": _inputs(metadata),
        "labels": _labels(metadata, configuration),
        "license": _licence(metadata, folder),
        "intended_use": "not stated",
    }
    return derived | metadata | {"name": name}


def input_format(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the zoo's description of the input image; empty if there is none."""
    return _only(metadata, "inputs", "image")


def output_channels(metadata: dict[str, Any]) -> list[str]:
    """Return what the network's output channels stand for, in order; empty if not described."""
    return _channels(_only(metadata, "outputs", "pred"))


def has_background(channels: list[str]) -> bool:
    """Tell whether the first of several output channels is the background."""
    return len(channels) > 1 and _BACKGROUND.match(channels[0]) is not None


def painted_values(configuration: Configuration | None) -> dict[int, int]:
    """Return the mask's value for each output channel that the configuration itself paints.

    The values 4, 1 and 2 of BraTS come from a chain of ``torch.where(x[[2]] > 0, 4, ...)`` in a
    transform after the threshold. The chain is read, not run.
    """
    values: dict[int, int] = {}
    for part in _postprocessing_parts(configuration):
        if is_expression(part):
            for node in ast.walk(parse(part).tree):
                values |= _painted(node)
    return values


def _painted(node: ast.AST) -> dict[int, int]:
    match node:
        case ast.Call(
            func=ast.Attribute() as where,
            args=[
                ast.Compare(
                    left=ast.Subscript(slice=chosen), ops=[ast.Gt()], comparators=[ast.Constant()]
                ),
                ast.Constant(value=int() as value),
                _,
            ],
        ) if dotted(where) == ("torch", "where"):
            channel = chosen.elts[0] if isinstance(chosen, ast.List) and chosen.elts else chosen
            if isinstance(channel, ast.Constant) and isinstance(channel.value, int):
                return {channel.value: value}
    return {}


def _postprocessing_parts(configuration: Configuration | None) -> list[Any]:
    if configuration is None:
        return []
    section = configuration.sections.get("postprocessing")
    return [part for _, part in evaluated_parts("postprocessing", section)]


def _inputs(metadata: dict[str, Any]) -> list[dict[str, str]]:
    image = input_format(metadata)
    channels = _channels(image) or ["image"] * _count(image.get("num_channels", 1))
    modality = str(image.get("modality", "MR"))
    if len(channels) == 1:
        return [{"name": _slug(channels[0]), "modality": modality}]
    return [{"name": _slug(channel), "modality": channel} for channel in channels]


def _labels(metadata: dict[str, Any], configuration: Configuration | None) -> list[dict[str, Any]]:
    channels = output_channels(metadata)
    painted = painted_values(configuration)
    if has_background(channels) or _takes_highest(configuration):
        values = {index: index for index in range(1, len(channels))}
    else:
        values = {index: painted.get(index, index + 1) for index in range(len(channels))}
    labels = [{"value": value, "name": channels[index]} for index, value in values.items()]
    return sorted(labels, key=lambda label: int(label["value"]))


def _takes_highest(configuration: Configuration | None) -> bool:
    """Tell whether the mask's values are the numbers of the channels, so that 0 is no label."""
    return any(
        isinstance(part, dict) and part.get("argmax") is True
        for part in _postprocessing_parts(configuration)
    )


def _licence(metadata: dict[str, Any], folder: Path) -> str:
    for name in _LICENCE_FILES:
        try:
            text = read_bytes(folder / name, _LICENCE_BYTES, name).decode("utf-8", "replace")
        except ModelError:
            continue
        return next((known for words, known in _LICENCES if words in text), f"see {name}")
    return str(metadata.get("copyright", "not stated"))


def _only(metadata: dict[str, Any], side: str, name: str) -> dict[str, Any]:
    """Return the one input or output that a segmentation model has."""
    try:
        formats = metadata["network_data_format"][side]
        return dict(formats.get(name) or next(iter(formats.values())))
    except KeyError:
        return {}
    except (TypeError, AttributeError, StopIteration, ValueError) as error:
        raise ModelError(f"network_data_format does not describe its {side}.") from error


def _channels(described: dict[str, Any]) -> list[str]:
    channels = described.get("channel_def") or {}
    if not isinstance(channels, dict) or not all(_is_channel(*item) for item in channels.items()):
        raise ModelError(
            "network_data_format: channel_def does not name channels by their numbers."
        )
    return [channels[key].strip() for key in sorted(channels, key=int)]


def _is_channel(number: str, name: object) -> bool:
    return (
        number.isascii()
        and number.isdigit()
        and int(number[:9]) < MAX_CHANNELS
        and isinstance(name, str)
    )


def _count(channels: object) -> int:
    if not isinstance(channels, int) or not 1 <= channels <= MAX_CHANNELS:
        raise ModelError(
            f"network_data_format: num_channels is not a number from 1 to {MAX_CHANNELS}."
        )
    return channels


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9_-]+", "_", name.lower()).strip("_") or "image"
