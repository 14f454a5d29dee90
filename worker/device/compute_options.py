"""How a worker's networks are to be computed, as its operator has set it."""

from dataclasses import dataclass
from typing import Self

import torch

from shared.settings import Settings
from worker.device.select import choose_device, limit_gpu_memory, set_threads


@dataclass(frozen=True)
class ComputeOptions:
    """The settings that loading a network needs.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        threads: Threads of a forward pass on a CPU; 0 keeps torch's choice.
        memory_growth: Whether GPU memory is allocated as it is needed.
        memory_fraction: The largest share of the GPU's memory.
        compile_network: Whether ``torch.compile`` is tried; only VoxelQ's own network can use it.
    """

    device: str = "auto"
    precision: str = "auto"
    threads: int = 0
    memory_growth: bool = True
    memory_fraction: float = 1.0
    compile_network: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the options that the settings contain."""
        return cls(
            device=settings.device,
            precision=settings.precision,
            threads=settings.threads,
            memory_growth=settings.gpu_memory_growth,
            memory_fraction=settings.gpu_memory_fraction,
            compile_network=settings.compile_network,
        )

    def open_device(self) -> torch.device:
        """Return the device, with its memory and the threads limited.

        Raises:
            MissingRequirement: The device is unknown, or this machine does not have it.
        """
        device = choose_device(self.device)
        limit_gpu_memory(device, growth=self.memory_growth, fraction=self.memory_fraction)
        set_threads(self.threads)
        return device
