"""How the batches on their way share the device.

A GPU computes one batch at a time, while others are read and written. On a CPU every stage of a
scan costs core time, so each batch in hand gets its share of the cores for all of its stages: one
batch alone has them all, and so the least latency; as many batches as there are cores have one
each and never wait for one another inside a convolution, which is where throughput is lost.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from worker.device.select import cores, set_threads
from worker.metrics.peak_memory import peak_bytes, restart_peak
from worker.metrics.utilization import UtilizationClock

#: On a CPU more lanes bring nothing once every core is busy, and each holds a scan in memory.
MOST_CPU_LANES = 4
#: One batch computing, one being written, the others being read: unpacking is what takes longest.
GPU_LANES = 6


class SharedDevice:
    """Cores and network of one worker, shared by its lanes.

    Args:
        device: ``cpu`` or ``cuda:N``.
        threads: Cores to use; 0: all that this process may use.
        lanes: Batches on their way at once; 0: as suits the device.
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
        """Look again how many others there are, and take no more than a fair share of the cores."""
        set_threads(self._share())

    @property
    def side_by_side(self) -> bool:
        """Whether the scans of a batch may be read and written side by side.

        On a CPU a batch that did so on one core would take the others' from them, and seem cheap.
        """
        return not self._on_cpu or self._share() > 1

    def _share(self) -> int:
        return max(1, self._threads // self._busy)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for this batch's turn to compute, and have it."""
        with nullcontext() if self._on_cpu else self._turn, self._network.busy():
            yield

    def taken_busy_s(self) -> float:
        """Return the seconds since the last call in which some batch had its turn."""
        return self._network.take().any_s

    @property
    def peak_memory_bytes(self) -> int | None:
        """The most memory held since no batch had a share; None if that is unknown."""
        return peak_bytes(self._device)
