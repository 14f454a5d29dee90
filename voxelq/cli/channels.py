"""Scans of several channels, as a user names them: one file at a time, or a folder of files."""

from collections.abc import Sequence
from pathlib import Path

from voxelq.cli.exits import UsageError

_ENDINGS = (".nii.gz", ".nii")


class BadChannels(UsageError):
    """The user did not name one file for each channel."""


def parse(options: Sequence[str]) -> dict[str, Path]:
    """Read ``name=file`` options into the channels of one scan.

    Raises:
        BadChannels: An option is malformed, a channel is named twice, or a file does not exist.
    """
    channels: dict[str, Path] = {}
    for option in options:
        name, equals, file = option.partition("=")
        if not (name and equals and file):
            raise BadChannels(f"--channel takes NAME=FILE, such as t1c=t1c.nii.gz, not {option}.")
        if name in channels:
            raise BadChannels(f"The channel {name} is given twice.")
        if not Path(file).is_file():
            raise BadChannels(f"There is no file {file} for the channel {name}.")
        channels[name] = Path(file)
    return channels


def in_folder(folder: Path, inputs: Sequence[str]) -> dict[str, Path]:
    """Find the file of each input in ``folder``: ``t1c.nii.gz``, or ``sub-01_t1c.nii.gz``.

    Raises:
        BadChannels: An input has no file there, or more than one.
    """
    stems = {path: _stem(path) for path in sorted(folder.iterdir()) if path.name.endswith(_ENDINGS)}
    channels: dict[str, Path] = {}
    for name in inputs:
        exact = [path for path, stem in stems.items() if stem == name]
        endings = tuple(f"{mark}{name}" for mark in "-_.")
        files = exact or [path for path, stem in stems.items() if stem.endswith(endings)]
        if len(files) != 1:
            count = "no file" if not files else f"{len(files)} files"
            raise BadChannels(
                f"{folder} has {count} for the channel {name}; the model takes "
                f"{', '.join(inputs)}, each as a file such as {name}.nii.gz."
            )
        channels[name] = files[0]
    return channels


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")
