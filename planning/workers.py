"""Workers of a simulation: each has batches in hand, and those share what the worker can do."""

import heapq
import math
import random
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple


@dataclass(frozen=True)
class Lanes:
    """How many batches may be on their way at once in a worker, and what they do together.

    ``speedups[n - 1]`` is the work that ``n`` batches in hand get done in a second, in seconds that
    they would take alone. Lanes are no workers: on a CPU they share cores that a lone batch has for
    itself, on a GPU one computes while others are read and written. Each has an equal share.
    ``concurrency`` is how many compute at the same time.
    """

    speedups: tuple[float, ...] = (1.0,)
    concurrency: int = 1

    def __post_init__(self) -> None:
        if not self.speedups or self.speedups[0] != 1 or min(self.speedups) <= 0:
            raise ValueError("The first lane's speed is 1, and every other one is above 0.")

    @property
    def most(self) -> float:
        """The most work that a worker gets done in a second."""
        return max(self.speedups)


class Begun(NamedTuple):
    """A batch that was begun: the scans in it, and how long the oldest had waited."""

    scans: tuple[int, ...]
    waited_s: float


class Done(NamedTuple):
    """A batch that ended, its cost in seconds of its worker, and batches in hand meanwhile."""

    batch: Begun
    cost_s: float
    concurrency: float


class _ActiveBatch(NamedTuple):
    """A batch in hand, on the clocks of its worker."""

    ends_at: float
    number: int
    batch: Begun
    cost_before_s: float
    began_s: float


class WorkerPool:
    """All workers of a simulation. Whoever has a free lane may get the next batch, by chance.

    So it is in the service: whose wait for work came first has the scan, whether it has others in
    hand or not, and waits are begun anew every second.
    """

    def __init__(self, workers: int, lanes: Lanes, seed: int) -> None:
        self.idle = workers
        self._speeds = [0.0, *(speed / n for n, speed in enumerate(lanes.speedups, start=1))]
        self._lanes = len(lanes.speedups)
        self._concurrency = lanes.concurrency
        self._next: int | None = None  # who begins the next batch, once that is drawn
        self._chance = random.Random(seed)
        self._numbers = count()
        self._hands: list[list[_ActiveBatch]] = [[] for _ in range(workers)]
        # work done, and seconds at an n-th of the real clock's speed, both for each batch in hand
        self._work_s = [0.0] * workers
        self._cost_s = [0.0] * workers
        self._at_s = [0.0] * workers
        self._open = list(range(workers))
        self._place = list(range(workers))  # of each worker among the open ones; -1: not there
        self._ends: list[tuple[float, int, int]] = []  # when, which version, worker
        self._version = [-1] * workers

    @property
    def has_room(self) -> bool:
        """Whether some worker could begin a batch."""
        return bool(self._open)

    @property
    def spare(self) -> int:
        """Other lanes that would compute now of the worker that begins the next batch."""
        return max(0, self._concurrency - len(self._hands[self._chosen()]) - 1)

    @property
    def next_end_s(self) -> float:
        """When the next batch ends; infinite with nothing in hand."""
        ends = self._ends
        while ends and self._version[ends[0][2]] != ends[0][1]:
            heapq.heappop(ends)
        return ends[0][0] if ends else math.inf

    def begin(self, batch: Begun, work_s: float, now_s: float) -> None:
        """Give a batch that alone takes ``work_s`` to some worker with room."""
        worker, self._next = self._chosen(), None
        self._tick(worker, now_s)
        hand = self._hands[worker]
        self.idle -= not hand
        ends_at = self._work_s[worker] + work_s
        number, cost_s = next(self._numbers), self._cost_s[worker]
        heapq.heappush(hand, _ActiveBatch(ends_at, number, batch, cost_s, now_s))
        if len(hand) == self._lanes:
            self._close(worker)
        self._foresee(worker, now_s)

    def end_next(self) -> Done:
        """End the batch that is due at :attr:`next_end_s`."""
        now_s, _, worker = heapq.heappop(self._ends)
        self._tick(worker, now_s)
        hand = self._hands[worker]
        ended = heapq.heappop(hand)
        cost_s = self._cost_s[worker] - ended.cost_before_s
        if self._place[worker] < 0:
            self._place[worker] = len(self._open)
            self._open.append(worker)
        if hand:
            self._foresee(worker, now_s)
        else:
            self.idle += 1
            self._work_s[worker] = self._cost_s[worker] = 0.0
        passed_s = now_s - ended.began_s
        return Done(ended.batch, cost_s, passed_s / cost_s if cost_s > 0 else 1.0)

    def hold_up(self, seconds: float, now_s: float) -> None:
        """Take time of one of the workers, by chance, from what it has in hand."""
        worker = int(self._chance.random() * len(self._hands))
        if active := len(self._hands[worker]):
            self._tick(worker, now_s)
            self._work_s[worker] -= seconds * self._speeds[active]
            self._foresee(worker, now_s)

    def fail(self, worker: int) -> list[Begun]:
        """Take a worker out of service; returns the batches that it had in hand."""
        hand = self._hands[worker]
        self.idle -= not hand
        self._hands[worker] = []
        self._version[worker] = -1
        self._work_s[worker] = self._cost_s[worker] = 0.0
        if self._place[worker] >= 0:
            self._close(worker)
        if self._next == worker:
            self._next = None
        return [one.batch for one in sorted(hand)]

    def restart(self, worker: int) -> None:
        """Have a worker that failed serve again."""
        self.idle += 1
        self._place[worker] = len(self._open)
        self._open.append(worker)

    def _chosen(self) -> int:
        """Return who begins the next batch: one with room, by chance."""
        if self._next is None:
            opened = self._open
            self._next = opened[int(self._chance.random() * len(opened)) if len(opened) > 1 else 0]
        return self._next

    def _close(self, worker: int) -> None:
        """Take a worker from those with room, in one step: the last takes its place."""
        place, last = self._place[worker], self._open.pop()
        if last != worker:
            self._open[place], self._place[last] = last, place
        self._place[worker] = -1

    def _tick(self, worker: int, now_s: float) -> None:
        active = len(self._hands[worker])
        if active:
            passed_s = now_s - self._at_s[worker]
            self._work_s[worker] += passed_s * self._speeds[active]
            self._cost_s[worker] += passed_s / active
        self._at_s[worker] = now_s

    def _foresee(self, worker: int, now_s: float) -> None:
        """Note when the worker's next batch ends, if it begins no other until then."""
        hand = self._hands[worker]
        left_s = max(0.0, hand[0].ends_at - self._work_s[worker]) / self._speeds[len(hand)]
        self._version[worker] = version = next(self._numbers)
        heapq.heappush(self._ends, (now_s + left_s, version, worker))
