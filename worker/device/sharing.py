"""How active batches share the device.

A GPU computes one batch at a time, while others are read and written. On a CPU every stage of a
scan costs core time, so each active batch gets its share of the cores for all of its stages: a
batch alone has them all, which gives the least latency; as many batches as there are cores have one
each, and do not wait for one another inside a convolution, which would cost throughput.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from worker.device.select import cores, set_threads
from worker.metrics.peak_memory import peak_bytes, restart_peak
from worker.metrics.utilization import UtilizationClock

#: On a CPU more lanes do not help once every core is busy, and each holds a scan in memory.
MOST_CPU_LANES = 4
#: One batch computes, one is written, the others are read, because decompressing takes longest.
GPU_LANES = 6


class SharedDevice:
    """Cores and network of one worker, shared by its lanes.

    Args:
        device: ``cpu`` or ``cuda:N``.
        threads: Cores to use; 0: all that this process may use.
        lanes: How many batches may be active at once; 0: as suits the device.
    """

    def __init__(self, device: str, threads: int, lanes: int) -> None:
        self._device = device
        self._on_cpu = device == "cpu"
        self._threads = threads or cores()
        self.lanes = lanes or (min(self._threads, MOST_CPU_LANES) if self._on_cpu else GPU_LANES)
        self._lock = threading.Lock()
        self._busy = 0
        self._turn = threading.Lock()
        self._network = UtilizationClock()

    @property
    def concurrency(self) -> int:
        """How many batches may compute at the same time."""
        return self.lanes if self._on_cpu else 1

    @contextmanager
    def share(self) -> Iterator[None]:
        """Give the calling thread its share of the cores for one batch."""
        with self._lock:
            if self._busy == 0:
                restart_peak(self._device)
            self._busy += 1
        self.use_share()
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1

    def use_share(self) -> None:
        """Limit the calling thread to an equal share of the cores among the active batches."""
        set_threads(self._share())

    @property
    def parallel_io(self) -> bool:
        """Whether several threads may read and write the scans of a batch.

        On a CPU, a batch with one core that did so would take cores from the others.
        """
        return not self._on_cpu or self._share() > 1

    def _share(self) -> int:
        return max(1, self._threads // self._busy)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Compute once it is this batch's turn."""
        with nullcontext() if self._on_cpu else self._turn, self._network.busy():
            yield

    def take_busy_s(self) -> float:
        """Return the seconds since the last call in which any batch computed."""
        return self._network.take().any_s

    @property
    def peak_memory_bytes(self) -> int | None:
        """The most memory held since no batch had a share; None if that is unknown."""
        return peak_bytes(self._device)
