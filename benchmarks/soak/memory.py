"""The memory of a service's processes over time, and whether it grows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from statistics import fmean
from typing import Literal

import numpy as np
import psutil
from scipy import stats

from benchmarks.common.services import part_of

#: A process whose memory grows by more per cent an hour counts as growing.
LIMIT_PERCENT = 1.0
#: A line through fewer rests shows only noise.
LEAST_RESTS = 4
#: Processes of which there is one each, so that they need no number.
_SINGLE = {"supervisor", "api", "redis"}

Conclusion = Literal["flat", "grows", "unclear"]


@dataclass(frozen=True)
class Slope:
    """How memory at rest grows, in per cent of the mean under load an hour.

    ``uncertainty`` is half a 95 % interval.
    """

    percent_per_hour: float
    uncertainty: float
    mean_mb: float

    @property
    def mb_per_hour(self) -> float:
        """Return the same in MB."""
        return self.percent_per_hour / 100 * self.mean_mb

    @property
    def conclusion(self) -> Conclusion:
        """Return whether the whole interval is below the limit, above it, or neither."""
        if self.percent_per_hour + self.uncertainty <= LIMIT_PERCENT:
            return "flat"
        grows = self.percent_per_hour - self.uncertainty > LIMIT_PERCENT
        return "grows" if grows else "unclear"


def slope(at_s: Sequence[float], at_rest_mb: Sequence[float], mean_mb: float) -> Slope:
    """Fit a line to memory at rest by least squares; its uncertainty is Student's t.

    Args:
        at_s: Seconds of load before each rest.
        at_rest_mb: The memory in each rest.
        mean_mb: The mean memory under load.

    Raises:
        ValueError: There are too few rests for a line with an uncertainty.
    """
    if len(at_s) < LEAST_RESTS:
        raise ValueError(f"{len(at_s)} rests are too few for a slope.")
    hours, mb = np.asarray(at_s) / 3600, np.asarray(at_rest_mb)
    from_middle = hours - hours.mean()
    spread = float(from_middle @ from_middle)
    rise = float(from_middle @ mb) / spread
    off = mb - mb.mean() - rise * from_middle
    error = float(np.sqrt(off @ off / (len(mb) - 2) / spread))
    half = float(stats.t.ppf(0.975, len(mb) - 2)) * error
    return Slope(100 * rise / mean_mb, 100 * half / mean_mb, mean_mb)


@dataclass
class ProcessNames:
    """The processes below a supervisor, each with a name that it keeps.

    A process that replaces a dead one gets the next number, and never the name of the dead one.
    """

    supervisor: psutil.Process
    _names: dict[int, str] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def memory_mb(self) -> dict[str, float]:
        """Return the resident memory of every process that lives now, in MB, by name."""
        memory: dict[str, float] = {}
        self._add(self.supervisor, "supervisor", memory)
        for child in self._children(self.supervisor):
            kind = part_of(self._command(child))
            self._add(child, kind, memory)
            for helper in self._children(child):
                is_watchdog = "shared.queue.watchdog" in self._command(helper)
                self._add(helper, "watchdog" if is_watchdog else f"{kind}'s child", memory)
        return memory

    def _add(self, process: psutil.Process, kind: str, memory: dict[str, float]) -> None:
        try:
            mb = process.memory_info().rss / 2**20
        except psutil.NoSuchProcess:
            return
        if process.pid not in self._names:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            single = kind in _SINGLE and self._counts[kind] == 1
            self._names[process.pid] = kind if single else f"{kind} {self._counts[kind]}"
        memory[self._names[process.pid]] = mb

    @staticmethod
    def _command(process: psutil.Process) -> list[str]:
        try:
            return process.cmdline()
        except psutil.NoSuchProcess:
            return []

    @staticmethod
    def _children(process: psutil.Process) -> list[psutil.Process]:
        try:
            return sorted(process.children(), key=lambda child: child.pid)
        except psutil.NoSuchProcess:
            return []


@dataclass(frozen=True)
class Sample:
    """Resident memory in MB of every process, at a moment."""

    at_s: float
    mb: Mapping[str, float]


@dataclass(frozen=True)
class Stretch:
    """A time of full load, from its first submit to its last result, and the rest after it.

    Seconds count from the start of the soak. At the end of a rest there is no scan in the service
    and free memory was returned, so ``at_rest_mb`` is what a process keeps. Under load the memory
    changes with every batch, which hides a leak for hours.
    """

    began_s: float
    ended_s: float
    scans: int
    at_rest_mb: Mapping[str, float]

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended_s - self.began_s


def load_s(stretches: Sequence[Stretch]) -> list[float]:
    """Return the seconds of load by the end of each stretch."""
    return list(accumulate(stretch.seconds for stretch in stretches))


def settled(stretches: Sequence[Stretch], warm_s: float) -> list[Stretch]:
    """Return the stretches that ended after the warm-up of so many seconds of load."""
    ends = zip(stretches, load_s(stretches), strict=True)
    return [stretch for stretch, end_s in ends if end_s > warm_s]


def under_load(stretches: Sequence[Stretch], samples: Sequence[Sample]) -> list[Sample]:
    """Return the samples that were not taken during rests."""
    return [
        sample
        for sample in samples
        if any(stretch.began_s <= sample.at_s <= stretch.ended_s for stretch in stretches)
    ]


def slopes(stretches: Sequence[Stretch], samples: Sequence[Sample]) -> dict[str, Slope]:
    """Return the slope of every process that ran all the time.

    Raises:
        ValueError: There are too few rests.
    """
    loaded, at_s = under_load(stretches, samples), load_s(stretches)
    return {
        name: slope(
            at_s,
            [stretch.at_rest_mb[name] for stretch in stretches],
            fmean(sample.mb[name] for sample in loaded),
        )
        for name in permanent(samples)
    }


def permanent(samples: Sequence[Sample]) -> list[str]:
    """Return the processes that ran all the time."""
    return [name for name in samples[0].mb if all(name in sample.mb for sample in samples)]


def not_permanent(samples: Sequence[Sample]) -> list[str]:
    """Return the processes that started or ended meanwhile."""
    stayed = set(permanent(samples))
    return sorted({name for sample in samples for name in sample.mb} - stayed)
