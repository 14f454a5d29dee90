"""How one volume goes through a network: whole, or window by window as a bundle asks."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from shared.errors import ModelError
from worker.sliding_window import WindowRules, sliding_window

#: Maps ``[N, C, I, J, K]`` to ``[N, L, I, J, K]``.
Network = Callable[[Tensor], Tensor]

#: Maps a volume ``[C, I, J, K]`` and a network to its answer ``[L, I, J, K]``.
Inferer = Callable[[Tensor, Network], Tensor]


def whole_volume(volume: Tensor, network: Network) -> Tensor:
    """Run the network over the volume in one piece."""
    return network(volume[None])[0].float()


def by_windows(rules: WindowRules) -> Inferer:
    """Return an inferer that runs the network window by window."""
    return lambda volume, network: sliding_window(volume, network, rules)


def from_monai(inferer: Any) -> Inferer:
    """Return what does the same as one of MONAI's inferers.

    Sliding windows are ours, whichever device the configuration would stitch them on; other
    inferers are called as they are.

    Raises:
        ModelError: Windows are to be told their coordinates, or their rules mean nothing.
    """
    kind = type(inferer).__name__
    if kind == "SimpleInferer":
        return whole_volume
    if kind not in ("SlidingWindowInferer", "SlidingWindowInfererAdapt"):
        return lambda volume, network: torch.as_tensor(inferer(volume[None], network))[0].float()
    if inferer.with_coord:
        raise ModelError("inferer: with_coord is not offered here.")
    roi = _three(inferer.roi_size)
    overlap = _three(inferer.overlap)
    sigma = _three(inferer.sigma_scale)
    return by_windows(
        WindowRules(
            roi_size=(int(roi[0] or 0), int(roi[1] or 0), int(roi[2] or 0)),
            overlap=(float(overlap[0]), float(overlap[1]), float(overlap[2])),
            mode=_plain(inferer.mode),
            sigma_scale=(float(sigma[0]), float(sigma[1]), float(sigma[2])),
            padding_mode=_plain(inferer.padding_mode),
            cval=float(inferer.cval),
            sw_batch_size=int(inferer.sw_batch_size),
        )
    )


def first_output(network: Callable[[Tensor], Any]) -> Network:
    """Return a network that answers with one tensor, where it may answer with several.

    What follows the first are intermediate outputs and losses, which only training needs.
    """

    def answer(images: Tensor) -> Tensor:
        output = network(images)
        while isinstance(output, (list, tuple)) and output:
            output = output[0]
        if not isinstance(output, Tensor):
            raise ModelError(f"The network answers with a {type(output).__name__}, not a tensor.")
        return output

    return answer


def _three(value: Any) -> Sequence[Any]:
    values = value if isinstance(value, Sequence) else (value,) * 3
    if len(values) != 3:
        raise ModelError(f"inferer: windows have three axes, not {len(values)}.")
    return values


def _plain(value: Any) -> str:
    return str(getattr(value, "value", value))
