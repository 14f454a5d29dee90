"""A bundle's transforms: what its configuration does to a scan before and after the network."""

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
    """One instance of a bundle's transforms: they keep state, so each scan has one to itself.

    ``argmax`` is how the postprocessing begins, where that is done while the answer comes in.
    """

    before: Any
    argmax: Callable[[Tensor], Tensor] | None
    after: Any


def build_transforms(resolver: Resolver, sections: dict[str, Any], answer: str) -> BundleTransforms:
    """Build the sections ``preprocessing`` and ``postprocessing``, or nothing where there are none.

    Args:
        resolver: Of the bundle's configuration.
        sections: The configuration's.
        answer: The key under which the postprocessing finds the network's answer.

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
        # There is nothing to invert, and MONAI would warn of it at every scan.
        invert = locate("Invertd")
        after.transforms = tuple(one for one in after.transforms if type(one) is not invert)
    head, rest = split_argmax(after.transforms, answer)
    after.transforms = tuple(rest)
    return BundleTransforms(before, as_function(head, answer) if head else None, after)
