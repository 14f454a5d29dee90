"""One forward pass: images in, one output for each; and what the passes of a model share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from shared.errors import ModelError
from worker.inference.oom import PassSizes
from worker.inference.outputs import OutputSink
from worker.inference.progress import OnProgress, ignore_progress

#: Maps ``[N, C, I, J, K]`` to ``[N, L, I, J, K]``.
Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class PassContext:
    """What the passes of one model need beside the scans: ``sizes`` is what fits in memory."""

    network: Network
    device: torch.device
    sizes: PassSizes


@dataclass(frozen=True)
class ScanInput:
    """One scan ``[C, I, J, K]``, and where its output goes.

    ``on_progress`` is called after each pass, if the scan is run window by window.
    """

    volume: Tensor
    sink: OutputSink
    on_progress: OnProgress = ignore_progress


def forward_pass(images: Sequence[Tensor], network: Network) -> Tensor:
    """Return the outputs ``[N, L, I, J, K]``, float32, for N images ``[C, I, J, K]`` of one shape.

    Raises:
        ModelError: The network does not return one output for each image.
    """
    outputs = network(torch.stack(list(images)))
    if outputs.shape[0] != len(images):
        raise ModelError(
            f"The network returns {outputs.shape[0]} outputs for {len(images)} images; "
            "its forward pass must keep the first axis."
        )
    return outputs.float()


def first_output(network: Callable[[Tensor], Any]) -> Network:
    """Return a network with one output tensor, for a network that may return several.

    The outputs after the first are intermediate ones and losses, which only training needs.
    """

    def run(images: Tensor) -> Tensor:
        output = network(images)
        while isinstance(output, (list, tuple)) and output:
            output = output[0]
        if not isinstance(output, Tensor):
            raise ModelError(f"The network returns a {type(output).__name__}, not a tensor.")
        return output

    return run
