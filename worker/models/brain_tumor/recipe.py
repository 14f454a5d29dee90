"""A model bundle as the worker reads it: how to build the network and how to read its answer.

``configs/metadata.json`` serves two readers: `shared.bundles.model_card.ModelCard` takes what a
client may know, and `Recipe` what it takes to run the model.
"""

import math
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from shared.bundles.files import read_json
from shared.bundles.model_card import METADATA
from shared.errors import ModelError
from worker.models.brain_tumor.network import STRIDE, UNet3D
from worker.models.safe_load.state_dict import WEIGHTS, read_state
from worker.volume.postprocess import MaskRules
from worker.volume.preprocess import Grid

#: Longest edge of a network's grid, in voxels.
MAX_EDGE = 1024


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class NetworkArguments(_Frozen):
    """The arguments of `worker.models.brain_tumor.network.UNet3D`."""

    in_channels: int = Field(ge=1, le=256)
    out_channels: int = Field(ge=1, le=256)
    channels: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(min_length=2, max_length=8)


class GridRecipe(_Frozen):
    """The grid the network was trained on."""

    shape: tuple[int, int, int]
    spacing_mm: float = Field(ge=0.01, le=100)

    @field_validator("shape")
    @classmethod
    def _divides(cls, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        if any(not 0 < n <= MAX_EDGE or n % STRIDE for n in shape):
            raise ValueError(f"every axis must be a multiple of {STRIDE}, at most {MAX_EDGE}")
        return shape


class MaskRecipe(_Frozen):
    """When a voxel, and when a piece of the mask, counts."""

    threshold: float = Field(gt=0, lt=1)
    min_component_ml: float = Field(ge=0)


class PresenceRecipe(_Frozen):
    """A logistic model of "there is a tumour", fitted on synthetic validation scans."""

    intercept: float
    logit_weight: float = Field(ge=0)
    volume_weight: float = Field(ge=0)

    def probability(self, logit: float, volume_ml: float) -> float:
        """Return the probability of a tumour, from the network's logit and the mask's volume."""
        total = self.intercept + self.logit_weight * logit
        total += self.volume_weight * math.log1p(volume_ml)
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, total))))


class Recipe(_Frozen):
    """All that is needed to run a bundle, besides its weights."""

    network: NetworkArguments
    grid: GridRecipe
    mask: MaskRecipe
    presence: PresenceRecipe

    @property
    def network_grid(self) -> Grid:
        """The grid that scans are resampled to."""
        return Grid(self.grid.shape, self.grid.spacing_mm)

    @property
    def mask_rules(self) -> MaskRules:
        """What counts as tumour."""
        return MaskRules(self.mask.threshold, self.mask.min_component_ml)


def read_recipe(bundle: Path) -> Recipe:
    """Read how to run the bundle.

    Raises:
        ModelError: The metadata is missing, unreadable or lacks something.
    """
    metadata = read_json(bundle / METADATA, f"{bundle.name}: {METADATA}")
    try:
        return Recipe.model_validate(metadata)
    except (ValueError, ValidationError) as error:
        raise ModelError(f"{bundle.name}: {METADATA} cannot be run: {error}") from error


def load_network(bundle: Path, arguments: NetworkArguments) -> UNet3D:
    """Build the network and fill in its weights, as fp32 and ready for inference.

    Raises:
        ModelError: The weights are missing, unreadable, or of another network.
    """
    network = UNet3D(**arguments.model_dump())
    try:
        state = read_state(bundle)
    except ModelError as error:
        raise ModelError(f"{bundle.name}: {error.detail}") from error.__cause__
    try:
        network.load_state_dict(state)
    except Exception as error:  # a user's own file may hold anything
        raise ModelError(f"{bundle.name}: {WEIGHTS} does not fit the network.") from error
    return network.eval().requires_grad_(False)
