"""Which GPU a worker computes on: the one that the fewest live workers use.

Workers share this through Redis. A GPU is identified by its UUID, which is the same in every
container and for every ``CUDA_VISIBLE_DEVICES``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog
import torch
from redis import Redis

from shared.queue.scripts import LEASE_GPU
from shared.settings import Settings
from worker.device.select import choose_device, grow_gpu_memory

log = structlog.get_logger()


@dataclass(frozen=True)
class Gpu:
    """One GPU: torch's number for it in this process, and its UUID."""

    index: int
    uuid: str


def lease_device(redis: Redis, worker_id: str, settings: Settings) -> str:
    """Return the device of this worker: ``cpu``, or ``cuda:N`` leased to it.

    ``cuda:N`` in the settings is used even if other workers use it, and counts for their choice.

    Raises:
        ModelError: This machine lacks the device that the settings name.
        RedisError: Redis does not answer.
    """
    if settings.gpu_memory_growth and settings.device != "cpu":
        grow_gpu_memory()  # before any GPU is initialised
    device = choose_device(settings.device)
    if device.type != "cuda":
        return str(device)
    numbers = [device.index] if ":" in settings.device else range(torch.cuda.device_count())
    gpus = [Gpu(number, _uuid(number)) for number in numbers]
    # The watchdog limits the time of loading; after that, heartbeats extend the lease.
    gpu = lease_gpu(redis, worker_id, gpus, settings.job_timeout_s + settings.lease_s)
    log.info("gpu_leased", worker=worker_id, gpu=gpu.index, of=len(gpus))
    return f"cuda:{gpu.index}"


def lease_gpu(redis: Redis, worker_id: str, gpus: Sequence[Gpu], hold_s: float) -> Gpu:
    """Lease the least used of ``gpus`` to a worker, for ``hold_s`` seconds or until its heartbeat.

    Heartbeats extend the lease; it ends when the worker leaves or its heartbeats stop. Raises
    RedisError.
    """
    chosen = LEASE_GPU.run(redis, worker_id, hold_s, *(gpu.uuid for gpu in gpus))
    return gpus[int(chosen) - 1]


def _uuid(index: int) -> str:
    return str(torch.cuda.get_device_properties(index).uuid)
