"""Gradients of a batch, with one thread for each sample.

Threads with one sample each wait for each other once a step. Threads that share every convolution
wait hundreds of times a step, and another busy process delays all of them: on two cores it cost two
thirds of the steps.
"""

import copy
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from training.loss import Loss, loss_of
from worker.models.brain_tumor.network import UNet3D


class Replicas:
    """A network and its copies, one for each sample of a batch."""

    def __init__(self, network: UNet3D, size: int) -> None:
        self.size = size
        self._network = network
        self._copies = [copy.deepcopy(network) for _ in range(size)]
        self._threads = ThreadPoolExecutor(size, "replica", torch.set_num_threads, (1,))

    def backward(self, images: Tensor, masks: Tensor) -> list[Loss]:
        """Set the network's gradients to the mean of a batch; return the loss of each sample.

        Images are ``[N, 1, D, H, W]`` and masks ``[N, 2, D, H, W]``; N is ``size``.
        """
        state = self._network.state_dict()
        jobs = zip(self._copies, torch.split(images, 1), torch.split(masks, 1), strict=True)
        losses = list(self._threads.map(lambda job: _backward(state, *job), jobs))
        for own, *others in zip(
            self._network.parameters(), *(c.parameters() for c in self._copies), strict=True
        ):
            gradients = [other.grad for other in others if other.grad is not None]
            own.grad = torch.stack(gradients).mean(dim=0)
        return losses


def _backward(state: dict[str, Tensor], network: UNet3D, image: Tensor, mask: Tensor) -> Loss:
    network.load_state_dict(state)
    network.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16):
        outline, presence = network(image)
    loss = loss_of(outline, presence, mask)
    loss.total.backward()  # type: ignore[no-untyped-call]
    return loss
