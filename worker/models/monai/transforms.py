"""A bundle's transforms: its configuration's steps before and after the network."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from shared.errors import ModelError
from worker.models.monai.argmax import as_function, split_argmax
from worker.models.monai.config_resolver import Resolver, locate
from worker.volume.grid_bound import with_grid_bounds


@dataclass(frozen=True)
class BundleTransforms:
    """One instance of a bundle's transforms: they keep state, so each scan has its own instance.

    ``argmax`` is the beginning of the postprocessing, if that can run while the output becomes
    final.
    """

    before: Any
    argmax: Callable[[Tensor], Tensor] | None
    after: Any


def build_transforms(resolver: Resolver, sections: dict[str, Any], output: str) -> BundleTransforms:
    """Build the sections ``preprocessing`` and ``postprocessing``; a missing one does nothing.

    Args:
        resolver: Of the bundle's configuration.
        sections: The sections of the configuration.
        output: The key under which the postprocessing finds the network's output.

    Raises:
        ModelError: A section is not a Compose, or names what is not allowed.
    """
    compose = locate("Compose")
    before, after = (
        resolver.get(name) if name in sections else compose([])
        for name in ("preprocessing", "postprocessing")
    )
    if not isinstance(before, compose) or not isinstance(after, compose):
        raise ModelError("preprocessing and postprocessing are each a Compose of transforms.")
    before.transforms = with_grid_bounds(before.transforms)
    if not any(hasattr(transform, "inverse") for transform in before.transforms):
        # Nothing can be inverted, and MONAI would log a warning for every scan.
        invert = locate("Invertd")
        after.transforms = tuple(step for step in after.transforms if type(step) is not invert)
    head, rest = split_argmax(after.transforms, output)
    after.transforms = tuple(rest)
    return BundleTransforms(before, as_function(head, output) if head else None, after)
