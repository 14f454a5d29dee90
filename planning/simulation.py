"""A queue with batching workers, simulated event by event: a million scans in seconds.

There is one queue in order of arrival and any number of equal workers. Whenever a worker has a free
lane and a scan waits, the policy decides how many to take or until when to wait. The same seed
gives the same run, and the same scan the same random duration under any load.
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from planning.workers import LaneSpeeds, StartedBatch, WorkerPool
from shared.batching.cost_model import BatchCost
from shared.batching.policy import BatchBounds, BatchPlanner, batch_size

ONE_LANE = LaneSpeeds()


class Moment(NamedTuple):
    """What a policy knows when a worker has a free lane; times are seconds since the run began."""

    now_s: float
    queued: int  #: scans that wait, at least 1
    oldest_s: float  #: when the first of them arrived
    newest_s: float  #: when the last of them arrived
    held_since_s: float  #: since when a free lane could have taken the first of them
    arrived: int  #: scans that arrived since the run began
    #: Workers without a batch (1 if there is none: the worker that draws has other batches, but a
    #: free lane), and the other free lanes of the worker that draws.
    idle: int
    workers: int


class Take(NamedTuple):
    """Start a batch of ``size`` scans; the policy decides again while workers are free."""

    size: int


class HoldUntil(NamedTuple):
    """Decide again at this time, or when the next scan arrives."""

    until_s: float


class Policy(Protocol):
    """How a free worker forms a batch."""

    def on_arrival(self, now_s: float) -> None:
        """Learn that a scan arrived."""

    def decide(self, moment: Moment) -> Take | HoldUntil:
        """Decide what a free worker does now."""

    def on_batch_done(self, size: int, waited_s: float, seconds: float, concurrency: float) -> None:
        """Learn what a batch took.

        Args:
            size: Its scans.
            waited_s: How long the oldest of them had waited.
            seconds: Its cost, in seconds of its worker.
            concurrency: Active batches of its worker meanwhile, in the mean.

        """


class Adaptive:
    """VoxelQ's own policy, which learns as its workers do."""

    MODEL = "simulated"

    def __init__(self, max_size: int, max_latency_s: float) -> None:
        self._planner = BatchPlanner(BatchBounds(max_size, max_latency_s, adaptive=True))

    def on_arrival(self, now_s: float) -> None:
        """Learn how soon scans follow each other."""
        self._planner.observe_arrival(now_s)

    def decide(self, moment: Moment) -> Take | HoldUntil:
        """Draw as many as the policy says; wait only where that is the whole queue."""
        planner = self._planner
        idle = moment.idle
        planner.observe_queue(
            arrived=moment.arrived, workers=moment.workers, idle=idle, now_s=moment.now_s
        )
        size = 1
        if moment.queued > idle:
            size = batch_size(planner.thresholds(self.MODEL), moment.queued, idle=idle)
        # the window counts from the newest scan if that arrived before the lane was free, because
        # a worker does not wait for a scan that did not follow within the window
        until_s = planner.bounds.max_latency_s + min(moment.held_since_s, moment.newest_s)
        if moment.now_s < until_s and planner.wants_more(
            self.MODEL, size=size, left=moment.queued - size, waited_s=0.0
        ):
            return HoldUntil(until_s)
        return Take(size)

    def on_batch_done(self, size: int, waited_s: float, seconds: float, concurrency: float) -> None:
        """Learn what the batch cost."""
        self._planner.observe_batch(self.MODEL, size, seconds, concurrency)


class FixedWindow:
    """Gather up to a size within a window from the first draw on, as LitServe and Ray Serve do."""

    def __init__(self, max_size: int, max_latency_s: float) -> None:
        self._max_size = max_size
        self._window_s = max_latency_s

    def on_arrival(self, now_s: float) -> None:
        """Nothing is learnt."""

    def decide(self, moment: Moment) -> Take | HoldUntil:
        """Hold until full or until the window is over."""
        until_s = moment.held_since_s + self._window_s
        if moment.queued < self._max_size and moment.now_s < until_s:
            return HoldUntil(until_s)
        return Take(min(moment.queued, self._max_size))

    def on_batch_done(self, size: int, waited_s: float, seconds: float, concurrency: float) -> None:
        """Nothing is learnt."""


@dataclass(frozen=True)
class Outage:
    """One worker fails at ``at_s``, and is back ``duration_s`` later.

    ``noticed_after_s`` after the failure its scans go back to the head of the queue, and each of
    them then runs alone.
    """

    at_s: float
    duration_s: float
    noticed_after_s: float


@dataclass(frozen=True)
class SimulationResult:
    """The result of a run, in seconds; scans are in the order of their arrival.

    A latency is the worker's side: upload and response come on top of it, and
    :meth:`planning.cost.MeasuredCost.response_s` adds them.
    """

    arrived_s: NDArray[np.float64]  #: when each scan arrived in the queue
    wait_s: NDArray[np.float64]  #: from its arrival until a worker drew it for the last time
    latency_s: NDArray[np.float64]  #: from its arrival to its result
    sizes: NDArray[np.int64]  #: the scans of each batch
    makespan_s: float
    busy_share: float

    @property
    def mean_s(self) -> float:
        """Mean latency."""
        return float(self.latency_s.mean())

    @property
    def throughput(self) -> float:
        """Scans computed a second, from the first arrival to the last result."""
        return len(self.latency_s) / self.makespan_s

    def percentile_s(self, share: float) -> float:
        """Return the latency that ``share`` (0 to 100) of the scans do not exceed."""
        return float(np.percentile(self.latency_s, share))


def simulate(
    policy: Policy,
    cost: BatchCost,
    arrivals: Iterator[float],
    *,
    scans: int,
    workers: int = 1,
    lanes: LaneSpeeds = ONE_LANE,
    noise: float = 0.0,
    upload_s: float = 0.0,
    seed: int = 0,
    outage: Outage | None = None,
) -> SimulationResult:
    """Simulate the first ``scans`` of ``arrivals``.

    Args:
        policy: Forms the batches.
        cost: What a batch takes that is alone in its worker, in the mean.
        arrivals: Times in seconds, in order.
        scans: How many to simulate, at least 1.
        workers: How many there are, at least 1.
        lanes: How many active batches each of them may have, and how fast those are.
        noise: Standard deviation of the logarithm of a batch's time; 0 for none.
        upload_s: Time that an upload takes from a busy worker; 0 where uploads and workers do not
            share cores.
        seed: Of the noise, and of which worker draws.
        outage: The failure of a worker, if there is one.

    """
    times = list(islice(arrivals, scans))
    scans = len(times)
    # by the first scan of a batch, so that another load does not change its duration
    durations = np.random.default_rng(seed).lognormal(-(noise**2) / 2, noise, scans).tolist()
    pool = WorkerPool(workers, lanes, seed)
    waits, latencies, sizes = [0.0] * scans, [0.0] * scans, list[int]()
    lost: list[StartedBatch] = []
    returned: deque[int] = deque()
    head = arrived = 0  # times[head:arrived] wait
    now_s = busy_s = 0.0
    held_since_s = wake_s = math.inf
    outage_events = deque(_outage_events(outage))
    alive = workers

    def begin(members: tuple[int, ...]) -> None:
        first = members[0]
        for index in members:
            waits[index] = now_s - times[index]
        work_s = cost.seconds(len(members)) * durations[first]
        pool.begin(StartedBatch(members, waits[first]), work_s, now_s)
        sizes.append(len(members))

    while head < scans or returned or lost or pool.next_end_s < math.inf:
        next_s = times[arrived] if arrived < scans else math.inf
        event_s = outage_events[0][0] if outage_events else math.inf
        end_s = pool.next_end_s
        now_s = min(next_s, end_s, wake_s, event_s)
        if end_s <= now_s:
            batch, cost_s, concurrency = pool.end_next()
            busy_s += cost_s
            policy.on_batch_done(len(batch.scans), batch.waited_s, cost_s, concurrency)
            for index in batch.scans:
                latencies[index] = now_s - times[index]
        elif event_s <= now_s:
            _, event = outage_events.popleft()
            if event == "fails":
                lost, alive = pool.fail(0), alive - 1
            elif event == "is noticed":
                returned.extend(index for batch in lost for index in batch.scans)
                lost = []
            else:
                pool.restart(0)
                alive += 1
        elif next_s <= now_s:
            arrived += 1
            policy.on_arrival(now_s)
            if upload_s:
                pool.delay(upload_s, now_s)
        wake_s = math.inf
        while returned and pool.has_room:
            begin((returned.popleft(),))
        while head < arrived and pool.has_room:
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
                    max(1, pool.idle) + pool.spare,
                    alive,
                )
            )
            if isinstance(decision, HoldUntil):
                wake_s = decision.until_s
                break
            begin(tuple(range(head, head + decision.size)))
            head += decision.size
            held_since_s = math.inf
    makespan_s = now_s - times[0]
    return SimulationResult(
        arrived_s=np.array(times),
        wait_s=np.array(waits),
        latency_s=np.array(latencies),
        sizes=np.array(sizes),
        makespan_s=makespan_s,
        busy_share=busy_s / (workers * makespan_s),
    )


def _outage_events(outage: Outage | None) -> list[tuple[float, str]]:
    """Return the events of an outage, in order of time."""
    if outage is None:
        return []
    return sorted(
        [
            (outage.at_s, "fails"),
            (outage.at_s + outage.noticed_after_s, "is noticed"),
            (outage.at_s + outage.duration_s, "is back"),
        ]
    )
