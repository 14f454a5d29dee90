"""One forward pass: images in, as many answers out."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from shared.errors import ModelError

#: Maps ``[N, C, I, J, K]`` to ``[N, L, I, J, K]``.
Network = Callable[[Tensor], Tensor]


def forward_pass(images: Sequence[Tensor], network: Network) -> Tensor:
    """Return the answers ``[N, L, I, J, K]``, float32, to N images ``[C, I, J, K]`` of one shape.

    Raises:
        ModelError: The network does not answer each image.
    """
    answers = network(torch.stack(list(images)))
    if answers.shape[0] != len(images):
        raise ModelError(
            f"The network answers {answers.shape[0]} times to {len(images)} images; "
            "its forward pass must keep the first axis."
        )
    return answers.float()


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
