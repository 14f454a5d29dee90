"""A queue before batching workers, simulated event by event: a million scans in seconds.

One queue in order of arrival, any number of workers that all cost the same, and a policy that is
asked, whenever a worker has a free lane and a scan waits, how many to take or until when to hold.
The same seed gives the same run, and the same scan the same luck under any load.
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from planning.workers import Begun, Lanes, WorkerPool
from shared.batching.cost_model import BatchCost
from shared.batching.policy import BatchBounds, BatchPlanner, batch_size

ONE_LANE = Lanes()


class Moment(NamedTuple):
    """What a policy may know when a worker is free; times are seconds since the run began."""

    now_s: float
    queued: int  #: scans that wait, at least 1
    oldest_s: float  #: when the first of them came
    newest_s: float  #: when the last of them came
    held_since_s: float  #: when a free worker first met the first of them
    arrived: int  #: scans that came since the run began
    idle: int  #: workers with nothing in hand, the one that draws, and its other idle lanes
    workers: int


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

    def served(self, size: int, waited_s: float, seconds: float, concurrency: float) -> None:
        """Hear of a batch.

        Args:
            size: Its scans.
            waited_s: How long the oldest of them had waited.
            seconds: What it took of its worker.
            concurrency: Batches that its worker had begun meanwhile, in the mean.

        """


class Adaptive:
    """VoxelQ's own policy, learning as its workers do."""

    MODEL = "simulated"

    def __init__(self, max_size: int, max_latency_s: float) -> None:
        self._planner = BatchPlanner(BatchBounds(max_size, max_latency_s, adaptive=True))

    def came(self, now_s: float) -> None:
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
        until_s = planner.bounds.max_latency_s + min(moment.held_since_s, moment.newest_s)
        if moment.now_s < until_s and planner.wants_more(
            self.MODEL, size=size, left=moment.queued - size, waited_s=0.0
        ):
            return HoldUntil(until_s)
        return Take(size)

    def served(self, size: int, waited_s: float, seconds: float, concurrency: float) -> None:
        """Learn what the batch cost."""
        self._planner.observe_batch(self.MODEL, size, seconds, concurrency)


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

    def served(self, size: int, waited_s: float, seconds: float, concurrency: float) -> None:
        """Nothing is learnt."""


@dataclass(frozen=True)
class Outage:
    """One worker fails at ``at_s`` and serves again after ``lasts_s``.

    What it had in hand goes back to the head of the queue once its silence is noticed, and each of
    those scans then runs alone.
    """

    at_s: float
    lasts_s: float
    noticed_s: float


@dataclass(frozen=True)
class Outcome:
    """How a run went, in seconds; scans stand in the order in which they came."""

    came_s: NDArray[np.float64]  #: when each scan came
    waits_s: NDArray[np.float64]  #: from then to its last draw
    latencies_s: NDArray[np.float64]  #: from then to its answer
    sizes: NDArray[np.int64]  #: of each batch
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


def simulate(
    policy: Policy,
    cost: BatchCost,
    arrivals: Iterator[float],
    *,
    scans: int,
    workers: int = 1,
    lanes: Lanes = ONE_LANE,
    noise: float = 0.0,
    upload_s: float = 0.0,
    seed: int = 0,
    outage: Outage | None = None,
) -> Outcome:
    """Serve the first ``scans`` of ``arrivals``.

    Args:
        policy: Forms the batches.
        cost: What a batch takes that is alone in its worker, in the mean.
        arrivals: Times in seconds, in order.
        scans: How many to serve, at least 1.
        workers: How many serve, at least 1.
        lanes: How many batches each of them may have in hand, and what that brings.
        noise: Standard deviation of the logarithm of a batch's time; 0 for none.
        upload_s: Time that taking a scan in costs a worker that is busy then; 0 where those who
            take scans in share nothing with those who compute.
        seed: Of the noise, and of who draws.
        outage: A worker's failure, if there is one.

    """
    times = list(islice(arrivals, scans))
    scans = len(times)
    # by the scan that leads a batch, so that a change of load does not change its luck
    luck = np.random.default_rng(seed).lognormal(-(noise**2) / 2, noise, scans).tolist()
    pool = WorkerPool(workers, lanes, seed)
    waits, latencies, sizes = [0.0] * scans, [0.0] * scans, list[int]()
    lost: list[Begun] = []
    returned: deque[int] = deque()
    head = arrived = 0  # times[head:arrived] wait
    now_s = busy_s = 0.0
    held_since_s = wake_s = math.inf
    turns = deque(_turns(outage))
    alive = workers

    def begin(members: tuple[int, ...]) -> None:
        first = members[0]
        for index in members:
            waits[index] = now_s - times[index]
        work_s = cost.seconds(len(members)) * luck[first]
        pool.begin(Begun(members, waits[first]), work_s, now_s)
        sizes.append(len(members))

    while head < scans or returned or lost or pool.next_end_s < math.inf:
        next_s = times[arrived] if arrived < scans else math.inf
        turn_s = turns[0][0] if turns else math.inf
        end_s = pool.next_end_s
        now_s = min(next_s, end_s, wake_s, turn_s)
        if end_s <= now_s:
            batch, cost_s, concurrency = pool.end_next()
            busy_s += cost_s
            policy.served(len(batch.scans), batch.waited_s, cost_s, concurrency)
            for index in batch.scans:
                latencies[index] = now_s - times[index]
        elif turn_s <= now_s:
            _, turn = turns.popleft()
            if turn == "fails":
                lost, alive = pool.fail(0), alive - 1
            elif turn == "is noticed":
                returned.extend(index for batch in lost for index in batch.scans)
                lost = []
            else:
                pool.restart(0)
                alive += 1
        elif next_s <= now_s:
            arrived += 1
            policy.came(now_s)
            if upload_s:
                pool.hold_up(upload_s, now_s)
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
    return Outcome(
        came_s=np.array(times),
        waits_s=np.array(waits),
        latencies_s=np.array(latencies),
        sizes=np.array(sizes),
        makespan_s=makespan_s,
        busy_share=busy_s / (workers * makespan_s),
    )


def _turns(outage: Outage | None) -> list[tuple[float, str]]:
    """Return what an outage brings, in order of time."""
    if outage is None:
        return []
    return sorted(
        [
            (outage.at_s, "fails"),
            (outage.at_s + outage.noticed_s, "is noticed"),
            (outage.at_s + outage.lasts_s, "is back"),
        ]
    )
