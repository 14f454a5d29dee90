"""Model bundles on disk: what is served, under which name and version.

A bundle is a folder ``<models>/<name>/<version>/`` laid out as MONAI has it, with
``configs/metadata.json`` telling what goes in and what comes out.
"""

import json
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import ModelError, ModelNotFound

METADATA = Path("configs") / "metadata.json"


class ModelInput(BaseModel):
    """One channel: the upload field's name and the MR sequence it holds."""

    model_config = ConfigDict(frozen=True)

    name: str
    modality: str


class ModelLabel(BaseModel):
    """One value of the mask and what it stands for."""

    model_config = ConfigDict(frozen=True)

    value: int
    name: str


class ModelCard(BaseModel):
    """What a client may know of a model, and where its bundle lies."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    version: str = Field(pattern=r"^[0-9]+(\.[0-9]+)*$")
    description: str
    inputs: tuple[ModelInput, ...] = Field(min_length=1)
    labels: tuple[ModelLabel, ...]
    license: str
    intended_use: str
    folder: Path = Field(exclude=True)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the card of the bundle in ``folder``.

        Raises:
            ModelError: The metadata is missing, unreadable or incomplete.

        """
        path = folder / METADATA
        try:
            metadata = json.loads(path.read_text(encoding="utf-8"))
            return cls.model_validate({**metadata, "folder": folder})
        except OSError as error:
            raise ModelError(f"{folder.name}: there is no readable {METADATA}.") from error
        except (ValueError, TypeError, ValidationError) as error:
            raise ModelError(f"{folder.name}: {METADATA} is not usable: {error}") from error

    @property
    def ref(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    @property
    def version_key(self) -> tuple[int, ...]:
        """The version as numbers, so that 1.10 comes after 1.9."""
        return tuple(int(part) for part in self.version.split("."))


class ModelCatalog:
    """The bundles under one folder, looked up afresh so that a new one is served at once."""

    def __init__(self, root: Path, default: str) -> None:
        self._root = root
        self._default = default

    def list(self) -> list[ModelCard]:
        """Return every usable bundle, by name, newest version first."""
        cards = []
        for path in sorted(self._root.glob(f"*/*/{METADATA}")):
            try:
                cards.append(ModelCard.read(path.parent.parent))
            except ModelError:
                continue  # one broken bundle must not hide the others
        by_version = sorted(cards, key=lambda card: card.version_key, reverse=True)
        return sorted(by_version, key=lambda card: card.name)

    def resolve(self, wanted: str | None = None) -> ModelCard:
        """Return the card for ``name`` (its newest version), ``name@version`` or the default.

        Raises:
            ModelNotFound: Nothing of that name and version is served.

        """
        name, _, version = (wanted or self._default).partition("@")
        for card in self.list():
            if card.name == name and version in ("", card.version):
                return card
        served = ", ".join(card.ref for card in self.list()) or "none"
        raise ModelNotFound(f"The model asked for is not served here. Served: {served}.")
