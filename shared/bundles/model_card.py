"""The card of a model bundle: its name, version, inputs and labels.

A bundle is a folder ``<models>/<name>/<version>/`` laid out as MONAI has it, with
``configs/metadata.json`` telling what goes in and what comes out: in the form that the fields of
`ModelCard` have, or as MONAI's model zoo writes it, which `shared.bundles.metadata` translates.
"""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.bundles.files import read_json
from shared.bundles.metadata import MAX_CHANNELS, NAME, card_fields
from shared.errors import ModelError

METADATA = Path("configs") / "metadata.json"


class ModelInput(BaseModel):
    """One channel: the upload field's name and the MR sequence it holds."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(max_length=64)
    modality: str = Field(max_length=200)


class ModelLabel(BaseModel):
    """One value of the mask and what it stands for.

    Of regions that overlap the larger is painted first, so that inner ones stay visible, and
    each is measured whole.
    """

    model_config = ConfigDict(frozen=True)

    value: int = Field(ge=-(1 << 31), lt=1 << 31)
    name: str = Field(max_length=200)


class ModelCard(BaseModel):
    """What a client may know of a model, and where its bundle lies.

    ``resample_inputs`` says that channels of another grid are resampled to the first one's.
    """

    model_config = ConfigDict(frozen=True)

    name: str = Field(pattern=NAME, max_length=100)
    version: str = Field(pattern=r"^[0-9]{1,9}(\.[0-9]{1,9}){0,7}$")
    description: str = Field(max_length=10_000)
    inputs: tuple[ModelInput, ...] = Field(min_length=1, max_length=MAX_CHANNELS)
    labels: tuple[ModelLabel, ...] = Field(max_length=1000)
    license: str = Field(max_length=1000)
    intended_use: str = Field(max_length=10_000)
    resample_inputs: bool = False
    folder: Path = Field(exclude=True)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the card of the bundle in ``folder``.

        Raises:
            ModelError: The metadata is missing, unreadable or incomplete.

        """
        metadata = read_json(folder / METADATA, f"{folder.name}: {METADATA}")
        try:
            return cls.model_validate({**card_fields(metadata, folder), "folder": folder})
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
