"""The workers of a simulation; the active batches of a worker share its speed."""

import heapq
import math
import random
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple


@dataclass(frozen=True)
class LaneSpeeds:
    """How many batches may be active at once in a worker, and how fast they are together.

    ``speedups[n - 1]`` is the work that ``n`` active batches do in a second, in seconds that they
    would take alone. Lanes are slower than workers: on a CPU they share the cores that a batch
    alone has for itself, on a GPU one computes while others are read and written. Each has an equal
    share. ``concurrency`` is how many compute at the same time.
    """

    speedups: tuple[float, ...] = (1.0,)
    concurrency: int = 1

    def __post_init__(self) -> None:
        if not self.speedups or self.speedups[0] != 1 or min(self.speedups) <= 0:
            raise ValueError("The first lane's speed is 1, and every other one is above 0.")

    @property
    def most(self) -> float:
        """The most work that a worker does in a second."""
        return max(self.speedups)


class StartedBatch(NamedTuple):
    """A batch that was started: its scans, and how long the oldest had waited."""

    scans: tuple[int, ...]
    waited_s: float


class EndedBatch(NamedTuple):
    """A batch that ended, its cost in seconds of its worker, and the mean of active batches."""

    batch: StartedBatch
    cost_s: float
    concurrency: float


class _ActiveBatch(NamedTuple):
    """An active batch, on the clocks of its worker."""

    ends_at: float
    number: int
    batch: StartedBatch
    cost_before_s: float
    began_s: float


class WorkerPool:
    """All workers of a simulation. A random one with a free lane gets the next batch.

    So it is in the service: the worker that has waited for work longest gets the scan, whether it
    has other batches or not, and each worker waits again every second.
    """

    def __init__(self, workers: int, lanes: LaneSpeeds, seed: int) -> None:
        self.idle = workers
        self._speeds = [0.0, *(speed / n for n, speed in enumerate(lanes.speedups, start=1))]
        self._lanes = len(lanes.speedups)
        self._concurrency = lanes.concurrency
        self._next: int | None = None  # which begins the next batch, once it is chosen
        self._chance = random.Random(seed)
        self._numbers = count()
        self._active: list[list[_ActiveBatch]] = [[] for _ in range(workers)]
        # work done, and seconds at an n-th of the real clock's speed, both for each active batch
        self._work_s = [0.0] * workers
        self._cost_s = [0.0] * workers
        self._at_s = [0.0] * workers
        self._open = list(range(workers))
        self._open_index = list(range(workers))  # of each worker in _open; -1: not in it
        self._ends: list[tuple[float, int, int]] = []  # time, version, worker
        self._version = [-1] * workers

    @property
    def has_room(self) -> bool:
        """Whether some worker could begin a batch."""
        return bool(self._open)

    @property
    def spare(self) -> int:
        """Other free lanes that could compute of the worker that begins the next batch."""
        return max(0, self._concurrency - len(self._active[self._chosen()]) - 1)

    @property
    def next_end_s(self) -> float:
        """When the next batch ends; infinite if none is active."""
        ends = self._ends
        while ends and self._version[ends[0][2]] != ends[0][1]:
            heapq.heappop(ends)
        return ends[0][0] if ends else math.inf

    def begin(self, batch: StartedBatch, work_s: float, now_s: float) -> None:
        """Give a batch that takes ``work_s`` alone to a worker with a free lane."""
        worker, self._next = self._chosen(), None
        self._tick(worker, now_s)
        active_batches = self._active[worker]
        self.idle -= not active_batches
        ends_at = self._work_s[worker] + work_s
        number, cost_s = next(self._numbers), self._cost_s[worker]
        heapq.heappush(active_batches, _ActiveBatch(ends_at, number, batch, cost_s, now_s))
        if len(active_batches) == self._lanes:
            self._close(worker)
        self._schedule_end(worker, now_s)

    def end_next(self) -> EndedBatch:
        """End the batch that ends at :attr:`next_end_s`."""
        now_s, _, worker = heapq.heappop(self._ends)
        self._tick(worker, now_s)
        active_batches = self._active[worker]
        ended = heapq.heappop(active_batches)
        cost_s = self._cost_s[worker] - ended.cost_before_s
        if self._open_index[worker] < 0:
            self._open_index[worker] = len(self._open)
            self._open.append(worker)
        if active_batches:
            self._schedule_end(worker, now_s)
        else:
            self.idle += 1
            self._work_s[worker] = self._cost_s[worker] = 0.0
        passed_s = now_s - ended.began_s
        return EndedBatch(ended.batch, cost_s, passed_s / cost_s if cost_s > 0 else 1.0)

    def delay(self, seconds: float, now_s: float) -> None:
        """Delay the batches of a random worker."""
        worker = int(self._chance.random() * len(self._active))
        if active := len(self._active[worker]):
            self._tick(worker, now_s)
            self._work_s[worker] -= seconds * self._speeds[active]
            self._schedule_end(worker, now_s)

    def fail(self, worker: int) -> list[StartedBatch]:
        """Take a worker out of service; return its active batches."""
        active_batches = self._active[worker]
        self.idle -= not active_batches
        self._active[worker] = []
        self._version[worker] = -1
        self._work_s[worker] = self._cost_s[worker] = 0.0
        if self._open_index[worker] >= 0:
            self._close(worker)
        if self._next == worker:
            self._next = None
        return [active.batch for active in sorted(active_batches)]

    def restart(self, worker: int) -> None:
        """Return a worker that failed to service."""
        self.idle += 1
        self._open_index[worker] = len(self._open)
        self._open.append(worker)

    def _chosen(self) -> int:
        """Return the worker that begins the next batch: a random one with a free lane."""
        if self._next is None:
            opened = self._open
            self._next = opened[int(self._chance.random() * len(opened)) if len(opened) > 1 else 0]
        return self._next

    def _close(self, worker: int) -> None:
        """Remove a worker from those with a free lane: the last one takes its index."""
        index, last = self._open_index[worker], self._open.pop()
        if last != worker:
            self._open[index], self._open_index[last] = last, index
        self._open_index[worker] = -1

    def _tick(self, worker: int, now_s: float) -> None:
        active = len(self._active[worker])
        if active:
            passed_s = now_s - self._at_s[worker]
            self._work_s[worker] += passed_s * self._speeds[active]
            self._cost_s[worker] += passed_s / active
        self._at_s[worker] = now_s

    def _schedule_end(self, worker: int, now_s: float) -> None:
        """Schedule the end of the worker's next batch, if it begins no other until then."""
        active_batches = self._active[worker]
        left_s = (
            max(0.0, active_batches[0].ends_at - self._work_s[worker])
            / self._speeds[len(active_batches)]
        )
        self._version[worker] = version = next(self._numbers)
        heapq.heappush(self._ends, (now_s + left_s, version, worker))
