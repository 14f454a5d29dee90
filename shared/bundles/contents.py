"""What the text files of one bundle say: read once, validated, and passed on as one object."""

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from shared.bundles.config import Configuration
from shared.bundles.files import (
    EXPORTED_PROGRAM,
    METADATA,
    TORCHSCRIPT,
    WEIGHTS,
    read_json,
)
from shared.bundles.metadata import card_fields
from shared.bundles.model_card import ModelCard
from shared.errors import ModelError


class BundleKind(StrEnum):
    """What runs a bundle."""

    #: MONAI's transforms, network and inferer, as ``configs/inference.json`` says.
    MONAI = "monai"
    #: A TorchScript or ``torch.export`` file, with the preprocessing of the metadata.
    EXPORTED = "exported"
    #: VoxelQ's own network, with the arguments in the metadata.
    BRAIN_TUMOR = "brain-tumor"


@dataclass(frozen=True)
class BundleContents:
    """One bundle's text files, and which files of weights are there; weights are not opened."""

    card: ModelCard
    metadata: dict[str, Any]
    configuration: Configuration | None
    weights: frozenset[Path]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read and validate the text files of the bundle in ``folder``.

        Raises:
            ModelError: A file is missing, unreadable or incomplete, or asks for what is not
                allowed.
        """
        metadata = read_json(folder / METADATA, f"{folder.name}: {METADATA}")
        configuration = Configuration.read(folder)
        try:
            fields = card_fields(metadata, configuration, folder)
            card = ModelCard.model_validate({**fields, "folder": folder})
        except (ValueError, TypeError, ValidationError) as error:
            raise ModelError(f"{folder.name}: {METADATA} is not usable: {error}") from error
        weights = frozenset(path for path in WEIGHTS if os.path.lexists(folder / path))
        return cls(card, metadata, configuration, weights)

    @property
    def folder(self) -> Path:
        """The bundle's folder, ``<models>/<name>/<version>``."""
        return self.card.folder

    @property
    def kind(self) -> BundleKind | None:
        """What runs the bundle; None if no file says it."""
        if self.configuration is not None:
            return BundleKind.MONAI
        if self.weights & {TORCHSCRIPT, EXPORTED_PROGRAM}:
            return BundleKind.EXPORTED
        return BundleKind.BRAIN_TUMOR if "network" in self.metadata else None
