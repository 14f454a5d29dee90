"""Folders of bundles that are hostile: pipes, links, devices and folders in place of files."""

import json
import os
from pathlib import Path

from benchmarks.hostile.bundles.honest import CARD, ZOO, Write, write_bundle


def _fifo_metadata(folder: Path) -> None:
    write_bundle(folder, "")
    (folder / "configs" / "metadata.json").unlink()
    os.mkfifo(folder / "configs" / "metadata.json")


def _fifo_weights(folder: Path) -> None:
    write_bundle(folder, json.dumps(CARD))
    (folder / "models" / "model.pt").unlink()
    os.mkfifo(folder / "models" / "model.pt")


def _fifo_beside_weights(folder: Path) -> None:
    write_bundle(folder, json.dumps(CARD))
    os.mkfifo(folder / "models" / "model.ts")


def _fifo_licence(folder: Path) -> None:
    write_bundle(folder, json.dumps(ZOO))
    os.mkfifo(folder / "LICENSE")


def _directory_for_weights(folder: Path) -> None:
    write_bundle(folder, json.dumps(CARD))
    (folder / "models" / "model.pt").unlink()
    (folder / "models" / "model.pt").mkdir()


def _directory_for_metadata(folder: Path) -> None:
    (folder / "configs" / "metadata.json").mkdir(parents=True)


def _links_in_a_circle(folder: Path) -> None:
    (folder / "configs").symlink_to(folder / "models")
    (folder / "models").symlink_to(folder / "configs")


def _metadata_that_links_to_itself(folder: Path) -> None:
    write_bundle(folder, "{}")
    path = folder / "configs" / "metadata.json"
    path.unlink()
    path.symlink_to(path)


def _configuration_that_leads_nowhere(folder: Path) -> None:
    write_bundle(folder, json.dumps(ZOO))
    (folder / "configs" / "inference.json").symlink_to("/nowhere/at/all")


def _device_for_metadata(folder: Path) -> None:
    (folder / "configs").mkdir()
    (folder / "configs" / "metadata.json").symlink_to("/dev/zero")


def _many_files(folder: Path) -> None:
    write_bundle(folder, json.dumps(CARD))
    for number in range(3000):
        (folder / "models" / str(number)).touch()


def _deep_folders(folder: Path) -> None:
    write_bundle(folder, json.dumps(CARD))
    (folder / "models" / "/".join(["d"] * 900)).mkdir(parents=True)


def _names_that_are_not_text(folder: Path) -> None:
    write_bundle(folder, json.dumps(CARD))
    Path(os.fsdecode(os.fsencode(folder / "models") + b"/\xff\xfe")).touch()


def _forbidden(folder: Path) -> None:
    write_bundle(folder, json.dumps(CARD))
    (folder / "configs").chmod(0)


#: Each writes one bundle in a hostile folder.
HOSTILE_FOLDERS: list[Write] = [
    _fifo_metadata, _fifo_weights, _fifo_beside_weights, _fifo_licence, _directory_for_weights,
    _directory_for_metadata,
    _links_in_a_circle, _metadata_that_links_to_itself, _configuration_that_leads_nowhere,
    _device_for_metadata, _many_files, _deep_folders, _names_that_are_not_text, _forbidden,
]  # fmt: skip
