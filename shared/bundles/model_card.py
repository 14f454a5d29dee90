"""The card of a model bundle: its name, version, inputs and labels.

A bundle is a folder ``<models>/<name>/<version>/`` in MONAI's layout. Its
``configs/metadata.json`` describes inputs and outputs: with the fields of `ModelCard`, or as
MONAI's model zoo writes them, which `shared.bundles.metadata` translates.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from shared.bundles.metadata import MAX_CHANNELS, NAME


class ModelInput(BaseModel):
    """One channel: the name of its upload field, and its MR sequence."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(max_length=64)
    modality: str = Field(max_length=200)


class ModelLabel(BaseModel):
    """One value of the mask and what it means.

    Where regions overlap, the larger is painted first, so that inner ones stay visible. Each
    region is measured whole.
    """

    model_config = ConfigDict(frozen=True)

    value: int = Field(ge=-(1 << 31), lt=1 << 31)
    name: str = Field(max_length=200)


class ModelCard(BaseModel):
    """What a client may know about a model, and the folder of its bundle.

    ``resample_inputs``: channels of another grid are resampled to the grid of the first one.
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

    @property
    def ref(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    @property
    def version_key(self) -> tuple[int, ...]:
        """The version as numbers, so that 1.10 comes after 1.9."""
        return tuple(int(part) for part in self.version.split("."))
