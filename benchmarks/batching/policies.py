"""The batching rules of other systems, for the simulator."""

from collections import deque
from collections.abc import Callable

from planning.simulation import Adaptive, FixedWindow, HoldUntil, Moment, Policy, Take


class Triton:
    """Triton's dynamic batcher: take all waiting requests once the oldest has waited long enough.

    The delay counts from the arrival of the oldest request, so requests that arrived during a pass
    are taken at once. No preferred sizes. Source: `docs/user_guide/batcher.md` of
    triton-inference-server/server and `GetDynamicBatch` in `src/dynamic_batch_scheduler.cc` of its
    `core`.
    """

    def __init__(self, max_size: int, max_latency_s: float) -> None:
        self._max_size = max_size
        self._delay_s = max_latency_s

    def on_arrival(self, now_s: float) -> None:
        """Do nothing: this rule does not learn."""

    def decide(self, moment: Moment) -> Take | HoldUntil:
        """Wait until the batch is full or the oldest request has waited for the delay."""
        due_s = moment.oldest_s + self._delay_s
        if moment.queued < self._max_size and moment.now_s < due_s:
            return HoldUntil(due_s)
        return Take(min(moment.queued, self._max_size))

    def on_batch_done(self, size: int, waited_s: float, seconds: float, concurrency: float) -> None:
        """Do nothing: this rule does not learn."""


class BentoML:
    """BentoML's dispatcher: wait while one more request would cost less than the usual wait.

    A line is fitted to the last 50 batches; with ``n`` waiting requests it waits another tick while
    ``n * (age of the newest + tick + slope)`` is below 0.95 of the mean wait of those batches.
    More favourable than its source: the line is fitted again after every batch instead of every
    five seconds, the oldest requests are taken first instead of the newest, no request is dropped,
    and there is no training phase.
    Source: `CorkDispatcher` in `src/bentoml/_internal/marshal/dispatcher.py` of bentoml/BentoML.
    """

    TICK_S = 0.001

    def __init__(self, max_size: int, max_latency_s: float) -> None:
        self._max_size = max_size
        self._seen: deque[tuple[int, float, float]] = deque(maxlen=50)
        self._slope_s = max_latency_s * 2 / 30
        self._wait_s = 0.01

    def on_arrival(self, now_s: float) -> None:
        """Do nothing: this rule does not learn."""

    def decide(self, moment: Moment) -> Take | HoldUntil:
        """Wait, tick by tick, while the rule says so."""
        count = moment.queued
        price_s = count * (moment.now_s - moment.newest_s + self.TICK_S + self._slope_s)
        if count < self._max_size and price_s <= 0.95 * self._wait_s:
            return HoldUntil(moment.now_s + self.TICK_S)
        return Take(min(count, self._max_size))

    def on_batch_done(self, size: int, waited_s: float, seconds: float, concurrency: float) -> None:
        """Fit the line, and average the waits."""
        self._seen.append((size, waited_s, seconds))
        count = len(self._seen)
        sizes = sum(size for size, _, _ in self._seen)
        total_s = sum(seconds for _, _, seconds in self._seen)
        spread = count * sum(size**2 for size, _, _ in self._seen) - sizes**2
        if spread:
            slope_s = (
                count * sum(size * seconds for size, _, seconds in self._seen) - sizes * total_s
            ) / spread
            self._slope_s = max(1e-6, slope_s)
        self._wait_s = sum(waited_s for _, waited_s, _ in self._seen) / count


#: Every policy by name, as a function of the largest batch and the longest window in seconds.
POLICIES: dict[str, Callable[[int, float], Policy]] = {
    "VoxelQ": Adaptive,
    "fixed window": FixedWindow,
    "Triton": Triton,
    "BentoML": BentoML,
}
