"""Which way a network is computed fastest, measured at warm-up within a bounded time.

In a heat every way that is still in the race runs once. Heats go on, in one setting after the
other, as long as there is time; the best time in each setting counts, for noise only adds.
"""

import time
from collections.abc import Callable, Sequence

import structlog

from worker.device.compute_mode import LEAST_AGREEMENT, ComputeMode, agreement, fastest
from worker.models.brain_tumor.phantom import Mask

log = structlog.get_logger()

#: About how long a race may take (seconds). A pass that has begun is not cut off, and the first
#: two ways run in any case: the slower the chip, the more there is to gain.
BUDGET_S = 3.0
#: Heats in each setting, at most.
MOST_HEATS = 5
#: Where time is short, ways that take so many times as long as the best are out.
HOPELESS = 1.5

#: Runs the network over a sample in one way with so many threads; returns its mask.
Run = Callable[[ComputeMode, int], Mask]


def choose_way(
    ways: Sequence[ComputeMode],
    thread_counts: Sequence[int],
    run: Run,
    now: Callable[[], float] = time.perf_counter,
) -> ComputeMode:
    """Return the fastest way whose mask agrees with the first one's.

    Args:
        ways: At least one, the plainest first. A later one that fails or disagrees is out.
        thread_counts: The settings, the most telling first.
        run: See `Run`; what it raises in the first way is passed on.
        now: A clock in seconds.
    """
    race = _Race(ways, run, now)
    for threads in list(thread_counts) * MOST_HEATS:
        if not race.heat(threads):
            break
    seconds = race.results(thread_counts)
    chosen = fastest(seconds)
    log.info(
        "arithmetic chosen",
        precision=chosen.precision,
        memory_format=chosen.memory_format,
        compiled=chosen.compiled,
        pass_s=[round(taken, 4) for taken in seconds[chosen]],
        ways=len(ways),
        to_the_end=len(seconds),
    )
    return chosen


class _Race:
    def __init__(self, ways: Sequence[ComputeMode], run: Run, now: Callable[[], float]) -> None:
        self._plainest = ways[0]
        self._left = list(ways)
        self._run = run
        self._now = now
        self._deadline = now() + BUDGET_S
        self._exact: Mask | None = None
        self._best: dict[ComputeMode, dict[int, float]] = {way: {} for way in ways}

    def heat(self, threads: int) -> bool:
        """Run every way once, if there is time for that; returns whether there was."""
        if self._exact is None:
            self._first_heat(threads)
            return True
        if not self._has_time(self._left, threads):
            self._left = self._hopeful()
            if not self._has_time(self._left, threads):
                return False
        self._left = [way for way in self._left if self._pass(way, threads)]
        return True

    def results(self, thread_counts: Sequence[int]) -> dict[ComputeMode, list[float]]:
        """Return the best times of those still in the race, in the settings that all ran in."""
        settings = [
            threads
            for threads in thread_counts
            if all(threads in self._best[way] for way in self._left)
        ]
        return {way: [self._best[way][threads] for threads in settings] for way in self._left}

    def _first_heat(self, threads: int) -> None:
        ways, self._left = self._left, []
        for way in ways:
            needed = len(self._left) < 2 or way.compiled
            if (needed or self._has_time([way], threads)) and self._pass(way, threads):
                self._left.append(way)

    def _pass(self, way: ComputeMode, threads: int) -> bool:
        """Run one way once; returns whether it stays in the race."""
        try:
            if way.compiled and threads not in self._best[way]:
                self._compile(way, threads)
            began = self._now()
            mask = self._run(way, threads)
        except Exception as error:  # a backend may lack anything
            if way == self._plainest:
                raise
            log.warning("arithmetic fails", way=str(way), error=type(error).__name__)
            return False
        taken = self._now() - began
        self._exact = mask if self._exact is None else self._exact
        share = agreement(mask, self._exact)
        if share < LEAST_AGREEMENT:
            log.warning("arithmetic disagrees", way=str(way), agreement=round(share, 5))
            return False
        self._best[way][threads] = min(taken, self._best[way].get(threads, taken))
        return True

    def _compile(self, way: ComputeMode, threads: int) -> None:
        """Let the first pass compile, which was asked for and so is not charged to the budget."""
        began = self._now()
        self._run(way, threads)
        self._deadline += self._now() - began

    def _has_time(self, ways: Sequence[ComputeMode], threads: int) -> bool:
        return self._now() + sum(self._likely_s(way, threads) for way in ways) <= self._deadline

    def _likely_s(self, way: ComputeMode, threads: int) -> float:
        times = self._best[way] or self._best[self._plainest]
        return times.get(threads, max(times.values()))

    def _hopeful(self) -> list[ComputeMode]:
        times = {way: next(iter(self._best[way].values())) for way in self._left}
        bound = HOPELESS * min(times.values())
        return [way for way in self._left if times[way] <= bound]
