"""Whether a bundle's postprocessing begins with an argmax that can run slab by slab."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from worker.models.monai.config_resolver import locate


def split_argmax(transforms: Sequence[Any], key: str) -> tuple[list[Any], list[Any]]:
    """Split MONAI's transforms after an argmax that follows activations only.

    Activations and an argmax process each voxel by itself. A transform that resamples probabilities
    before the argmax, as ``Invertd`` does in many bundles, needs neighbouring voxels too; then the
    postprocessing has no such head.

    Args:
        transforms: The postprocessing, in order.
        key: The output's key.

    Returns:
        The head, empty if there is none, and the rest.
    """
    activations, as_discrete = locate("Activationsd"), locate("AsDiscreted")
    for place, transform in enumerate(transforms):
        if type(transform) not in (activations, as_discrete):
            break
        if transform.keys != (key,) or transform.converter.kwargs:
            break
        if type(transform) is as_discrete:
            others = (*transform.to_onehot, *transform.threshold, *transform.rounding)
            if transform.argmax != (True,) or any(other is not None for other in others):
                break
            return list(transforms[: place + 1]), list(transforms[place + 1 :])
        if transform.other != (None,):
            break
    return [], list(transforms)


def as_function(head: Sequence[Any], key: str) -> Callable[[Tensor], Tensor]:
    """Return the head as a function from ``[L, n, J, K]`` to label values ``[1, n, J, K]``."""

    def argmax(slab: Tensor) -> Tensor:
        data: dict[str, Any] = {key: slab}
        for transform in head:
            data = transform(data)
        values: Tensor = data[key].as_subclass(Tensor)
        return values

    return argmax
