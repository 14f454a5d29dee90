"""How to build VoxelQ's own network and read its output, from ``configs/metadata.json``.

`shared.bundles.model_card.ModelCard` takes from the same file what a client may know.
"""

import math
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from shared.bundles.contents import BundleContents
from shared.bundles.files import METADATA, STATE_DICT
from shared.errors import ModelError
from worker.models.brain_tumor.network import STRIDE, UNet3D
from worker.models.safe_load.state_dict import read_state
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
    """The least probability of a voxel, and the least volume of a component, to be tumour."""

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
    """Everything that is needed to run a bundle, besides its weights."""

    network: NetworkArguments
    grid: GridRecipe
    mask: MaskRecipe
    presence: PresenceRecipe

    @classmethod
    def of(cls, metadata: dict[str, Any], name: str) -> Self:
        """Return what a bundle's metadata says; ``name`` is what an error calls the bundle.

        Raises:
            ModelError: A field is missing or has a value that is not possible.
        """
        try:
            return cls.model_validate(metadata)
        except (ValueError, ValidationError) as error:
            raise ModelError(f"{name}: {METADATA} cannot be run: {error}") from error

    @property
    def network_grid(self) -> Grid:
        """The grid that scans are resampled to."""
        return Grid(self.grid.shape, self.grid.spacing_mm)

    @property
    def mask_rules(self) -> MaskRules:
        """What is tumour."""
        return MaskRules(self.mask.threshold, self.mask.min_component_ml)


def load_network(contents: BundleContents, arguments: NetworkArguments) -> UNet3D:
    """Build the network and fill in its weights, as fp32 and ready for inference.

    Raises:
        ModelError: The weights are missing, unreadable, or of another network.
    """
    network, name = UNet3D(**arguments.model_dump()), contents.folder.name
    try:
        state = read_state(contents.folder)
    except ModelError as error:
        raise ModelError(f"{name}: {error.detail}") from error.__cause__
    try:
        network.load_state_dict(state)
    except Exception as error:  # a user's file may contain anything
        raise ModelError(f"{name}: {STATE_DICT} does not fit the network.") from error
    return network.eval().requires_grad_(False)
