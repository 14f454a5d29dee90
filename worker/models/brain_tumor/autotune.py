"""Which compute mode is fastest for a network, measured at warm-up within a bounded time.

In each round every remaining mode runs once. Rounds go on, with one number of threads after the
other, while there is time. The best time for each number of threads is used, because noise only
makes passes slower.
"""

import time
from collections.abc import Callable, Sequence

import structlog

from worker.device.compute_mode import LEAST_AGREEMENT, ComputeMode, agreement, fastest
from worker.models.brain_tumor.phantom import Mask

log = structlog.get_logger()

#: About how long the measurement may take (seconds). A pass that has begun is not interrupted, and
#: the first two modes run in any case: the slower the device, the more a faster mode saves.
BUDGET_S = 3.0
#: Most rounds with each number of threads.
MOST_ROUNDS = 5
#: When time is short, modes that take so many times as long as the fastest are dropped.
TOO_SLOW = 1.5

#: Runs the network over a sample in one mode with so many threads; returns its mask.
Run = Callable[[ComputeMode, int], Mask]


def measure_modes(
    modes: Sequence[ComputeMode],
    thread_counts: Sequence[int],
    run: Run,
    now: Callable[[], float] = time.perf_counter,
) -> ComputeMode:
    """Return the fastest mode whose mask agrees with the first mode's.

    Args:
        modes: At least one, the plainest first. A later one that fails or disagrees is dropped.
        thread_counts: Numbers of threads to measure with, the most important first.
        run: See `Run`; an exception in the first mode is passed on.
        now: A clock in seconds.
    """
    measurement = _Measurement(modes, run, now)
    for threads in list(thread_counts) * MOST_ROUNDS:
        if not measurement.round(threads):
            break
    seconds = measurement.results(thread_counts)
    chosen = fastest(seconds)
    log.info(
        "compute_mode_measured",
        precision=chosen.precision,
        memory_format=chosen.memory_format,
        compiled=chosen.compiled,
        pass_s=[round(taken, 4) for taken in seconds[chosen]],
        modes=len(modes),
        measured_to_the_end=len(seconds),
    )
    return chosen


class _Measurement:
    def __init__(self, modes: Sequence[ComputeMode], run: Run, now: Callable[[], float]) -> None:
        self._plainest = modes[0]
        self._remaining = list(modes)
        self._run = run
        self._now = now
        self._deadline = now() + BUDGET_S
        self._exact: Mask | None = None
        self._best: dict[ComputeMode, dict[int, float]] = {mode: {} for mode in modes}

    def round(self, threads: int) -> bool:
        """Run every remaining mode once if there is time; returns whether there was."""
        if self._exact is None:
            self._first_round(threads)
            return True
        if not self._has_time(self._remaining, threads):
            self._remaining = self._without_slow_ones()
            if not self._has_time(self._remaining, threads):
                return False
        self._remaining = [mode for mode in self._remaining if self._pass(mode, threads)]
        return True

    def results(self, thread_counts: Sequence[int]) -> dict[ComputeMode, list[float]]:
        """Return the remaining modes' best times for the numbers of threads that all ran with."""
        complete = [
            threads
            for threads in thread_counts
            if all(threads in self._best[mode] for mode in self._remaining)
        ]
        return {
            mode: [self._best[mode][threads] for threads in complete] for mode in self._remaining
        }

    def _first_round(self, threads: int) -> None:
        modes, self._remaining = self._remaining, []
        for mode in modes:
            needed = len(self._remaining) < 2 or mode.compiled
            if (needed or self._has_time([mode], threads)) and self._pass(mode, threads):
                self._remaining.append(mode)

    def _pass(self, mode: ComputeMode, threads: int) -> bool:
        """Run one mode once; returns whether it remains."""
        try:
            if mode.compiled and threads not in self._best[mode]:
                self._compile(mode, threads)
            began = self._now()
            mask = self._run(mode, threads)
        except Exception as error:  # a backend may lack any operation
            if mode == self._plainest:
                raise
            log.warning("compute_mode_failed", mode=str(mode), error=type(error).__name__)
            return False
        taken = self._now() - began
        self._exact = mask if self._exact is None else self._exact
        share = agreement(mask, self._exact)
        if share < LEAST_AGREEMENT:
            log.warning("compute_mode_disagreed", mode=str(mode), agreement=round(share, 5))
            return False
        self._best[mode][threads] = min(taken, self._best[mode].get(threads, taken))
        return True

    def _compile(self, mode: ComputeMode, threads: int) -> None:
        """Let the first pass compile; the operator asked for it, so the budget is extended."""
        began = self._now()
        self._run(mode, threads)
        self._deadline += self._now() - began

    def _has_time(self, modes: Sequence[ComputeMode], threads: int) -> bool:
        return self._now() + sum(self._likely_s(mode, threads) for mode in modes) <= self._deadline

    def _likely_s(self, mode: ComputeMode, threads: int) -> float:
        times = self._best[mode] or self._best[self._plainest]
        return times.get(threads, max(times.values()))

    def _without_slow_ones(self) -> list[ComputeMode]:
        times = {mode: next(iter(self._best[mode].values())) for mode in self._remaining}
        bound = TOO_SLOW * min(times.values())
        return [mode for mode in self._remaining if times[mode] <= bound]
