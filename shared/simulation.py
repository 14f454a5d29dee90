"""A queue before batching workers, simulated event by event: a million scans in seconds.

One queue in order of arrival, any number of workers that all cost the same, and a policy that is
asked, whenever a worker is free and a scan waits, how many to take or until when to hold. The same
seed gives the same run.
"""

import heapq
import math
import random
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.batch_cost import BatchCost
from shared.batching import BatchBounds, BatchPlanner, climb


class Moment(NamedTuple):
    """What a policy may know when a worker is free; times are seconds since the run began."""

    now_s: float
    queued: int  #: scans that wait, at least 1
    oldest_s: float  #: when the first of them came
    newest_s: float  #: when the last of them came
    held_since_s: float  #: when a free worker first met the first of them
    arrived: int  #: scans that came since the run began
    started: int  #: scans in service
    workers: int  #: free or busy


class Take(NamedTuple):
    """Start a batch of ``size`` scans; the policy is asked again while there are free workers."""

    size: int


class HoldUntil(NamedTuple):
    """Ask again at this time, or when the next scan comes."""

    until_s: float


class Policy(Protocol):
    """How a free worker forms a batch."""

    def came(self, now_s: float) -> None:
        """Hear that a scan came."""

    def decide(self, moment: Moment) -> Take | HoldUntil:
        """Say what a free worker does now."""

    def served(self, size: int, waited_s: float, seconds: float) -> None:
        """Hear of a batch: its size, how long its oldest scan had waited, what it took."""


class Adaptive:
    """VoxelQ's own policy, learning as its workers do."""

    MODEL = "simulated"

    def __init__(self, max_size: int, max_latency_s: float) -> None:
        self._planner = BatchPlanner(BatchBounds(max_size, max_latency_s, adaptive=True))

    def came(self, now_s: float) -> None:
        """Learn how soon scans follow each other."""
        self._planner.came(now_s)

    def decide(self, moment: Moment) -> Take | HoldUntil:
        """Draw by the ladder; wait only with the whole queue in hand."""
        planner = self._planner
        # As the queue's script has it: every scan in service keeps one worker busy, at most.
        idle = max(1, moment.workers - moment.started)
        planner.saw(arrived=moment.arrived, workers=moment.workers, idle=idle, now_s=moment.now_s)
        size = 1
        if moment.queued > idle:
            size = climb(planner.steps(self.MODEL), moment.queued, idle=idle)
        until_s = planner.bounds.max_latency_s + min(moment.held_since_s, moment.newest_s)
        if moment.now_s < until_s and planner.wants_more(
            self.MODEL, size=size, left=moment.queued - size, waited_s=0.0
        ):
            return HoldUntil(until_s)
        return Take(size)

    def served(self, size: int, waited_s: float, seconds: float) -> None:
        """Learn what the batch cost."""
        self._planner.observe(self.MODEL, size, seconds)


class FixedWindow:
    """Gather up to a size within a window from the first draw on, as LitServe and Ray Serve do."""

    def __init__(self, max_size: int, max_latency_s: float) -> None:
        self._max_size = max_size
        self._window_s = max_latency_s

    def came(self, now_s: float) -> None:
        """Nothing is learnt."""

    def decide(self, moment: Moment) -> Take | HoldUntil:
        """Hold until full or until the window is over."""
        until_s = moment.held_since_s + self._window_s
        if moment.queued < self._max_size and moment.now_s < until_s:
            return HoldUntil(until_s)
        return Take(min(moment.queued, self._max_size))

    def served(self, size: int, waited_s: float, seconds: float) -> None:
        """Nothing is learnt."""


@dataclass(frozen=True)
class Outcome:
    """How a run went: seconds from arrival to answer of every scan, and the run as a whole."""

    latencies_s: NDArray[np.float64]
    sizes: NDArray[np.int64]
    makespan_s: float
    busy_share: float

    @property
    def mean_s(self) -> float:
        """Mean latency."""
        return float(self.latencies_s.mean())

    @property
    def throughput(self) -> float:
        """Scans answered a second, from the first arrival to the last answer."""
        return len(self.latencies_s) / self.makespan_s

    def percentile_s(self, share: float) -> float:
        """Return the latency that ``share`` (0 to 100) of the scans do not exceed."""
        return float(np.percentile(self.latencies_s, share))


def poisson_arrivals(rate: float, *, seed: int) -> Iterator[float]:
    """Yield times (s) at which independent scans come, ``rate`` a second, without end."""
    chance, now_s = random.Random(seed), 0.0
    while True:
        now_s += chance.expovariate(rate)
        yield now_s


def constant_arrivals(rate: float) -> Iterator[float]:
    """Yield times (s) of scans that come evenly, ``rate`` a second, without end."""
    count = 0
    while True:
        count += 1
        yield count / rate


def bursty_arrivals(rate: float, *, burst: int, gap_s: float, seed: int) -> Iterator[float]:
    """Yield times (s) of scans in series of ``burst`` with ``gap_s`` between; ``rate`` overall.

    Series begin independently, and may overlap.
    """
    series: list[float] = []
    for start_s in poisson_arrivals(rate / burst, seed=seed):
        while series and series[0] <= start_s:
            yield heapq.heappop(series)
        for number in range(burst):
            heapq.heappush(series, start_s + number * gap_s)


def simulate(
    policy: Policy,
    cost: BatchCost,
    arrivals: Iterator[float],
    *,
    scans: int,
    workers: int = 1,
    noise: float = 0.0,
    seed: int = 0,
) -> Outcome:
    """Serve the first ``scans`` of ``arrivals``.

    Args:
        policy: Forms the batches.
        cost: What a batch takes.
        arrivals: Times in seconds, in order.
        scans: How many to serve, at least 1.
        workers: How many serve, at least 1.
        noise: Standard deviation of the logarithm of a batch's time; 0 for none.
        seed: Of the noise.

    """
    chance = random.Random(seed)
    times = array("d", islice(arrivals, scans))
    scans = len(times)
    latencies, sizes = array("d"), array("q")
    finishing: list[tuple[float, int, float, float]] = []  # when, size, waited, seconds
    free, busy_s, now_s = workers, 0.0, 0.0
    head = arrived = started = 0  # times[head:arrived] wait
    held_since_s = wake_s = math.inf
    while head < scans or finishing:
        next_s = times[arrived] if arrived < scans else math.inf
        finish_s = finishing[0][0] if finishing else math.inf
        now_s = min(next_s, finish_s, wake_s)
        if finish_s <= now_s:
            _, size, waited_s, seconds = heapq.heappop(finishing)
            policy.served(size, waited_s, seconds)
            free += 1
            started -= size
        elif next_s <= now_s:
            arrived += 1
            policy.came(now_s)
        wake_s = math.inf
        while free and head < arrived:
            if held_since_s == math.inf:
                held_since_s = now_s
            decision = policy.decide(
                Moment(
                    now_s,
                    arrived - head,
                    times[head],
                    times[arrived - 1],
                    held_since_s,
                    arrived,
                    started,
                    workers,
                )
            )
            if isinstance(decision, HoldUntil):
                wake_s = decision.until_s
                break
            size = decision.size
            seconds = cost.seconds(size)
            if noise:
                seconds *= chance.lognormvariate(0.0, noise)
            done_s = now_s + seconds
            heapq.heappush(finishing, (done_s, size, now_s - times[head], seconds))
            for index in range(head, head + size):
                latencies.append(done_s - times[index])
            sizes.append(size)
            busy_s += seconds
            head += size
            free -= 1
            started += size
            held_since_s = math.inf
    makespan_s = now_s - times[0]
    return Outcome(
        latencies_s=np.array(latencies),
        sizes=np.array(sizes),
        makespan_s=makespan_s,
        busy_share=busy_s / (workers * makespan_s),
    )
