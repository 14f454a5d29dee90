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

#: More than this many per cent an hour is no settled process.
LIMIT_PERCENT = 1.0
#: A line through fewer rests tells of noise.
LEAST_RESTS = 4
#: There is one of each.
_ALONE = {"supervisor", "api", "redis"}

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
        """Say what the slope shows: the whole interval below the limit, above, or neither."""
        if self.percent_per_hour + self.uncertainty <= LIMIT_PERCENT:
            return "flat"
        grows = self.percent_per_hour - self.uncertainty > LIMIT_PERCENT
        return "grows" if grows else "unclear"


def slope(at_s: Sequence[float], at_rest_mb: Sequence[float], mean_mb: float) -> Slope:
    """Fit a line to memory at rest by least squares; its uncertainty is Student's t.

    Args:
        at_s: Seconds of load before each rest.
        at_rest_mb: What was held in each, in MB.
        mean_mb: What is held under load.

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
class Family:
    """The processes below a supervisor, each with a name that it keeps.

    One that came for a dead one has the next number: nothing is continued under an old name.
    """

    supervisor: psutil.Process
    _names: dict[int, str] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def memory_mb(self) -> dict[str, float]:
        """Return the resident memory of every process that lives now, in MB, by name."""
        found: dict[str, float] = {}
        self._add(self.supervisor, "supervisor", found)
        for child in self._children(self.supervisor):
            kind = part_of(self._command(child))
            self._add(child, kind, found)
            for helper in self._children(child):
                dog = "shared.watchdog" in self._command(helper)
                self._add(helper, "watchdog" if dog else f"{kind}'s child", found)
        return found

    def _add(self, process: psutil.Process, kind: str, found: dict[str, float]) -> None:
        try:
            mb = process.memory_info().rss / 2**20
        except psutil.NoSuchProcess:
            return
        if process.pid not in self._names:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            alone = kind in _ALONE and self._counts[kind] == 1
            self._names[process.pid] = kind if alone else f"{kind} {self._counts[kind]}"
        found[self._names[process.pid]] = mb

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
    """Clients at work, from the first scan handed in to the last answered, and the rest after it.

    Seconds count from when the soak began. At the end of a rest nothing is in hand and what lies
    free was given back, so ``at_rest_mb`` is what a process keeps; under load memory goes up and
    down with every batch, which hides for hours what is kept.
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
    return list(accumulate(one.seconds for one in stretches))


def settled(stretches: Sequence[Stretch], warm_s: float) -> list[Stretch]:
    """Return the stretches that ended after so many seconds of load, the warm-up."""
    ends = zip(stretches, load_s(stretches), strict=True)
    return [one for one, end_s in ends if end_s > warm_s]


def under_load(stretches: Sequence[Stretch], samples: Sequence[Sample]) -> list[Sample]:
    """Return the samples within the stretches, rests left out."""
    return [
        sample
        for sample in samples
        if any(one.began_s <= sample.at_s <= one.ended_s for one in stretches)
    ]


def slopes(stretches: Sequence[Stretch], samples: Sequence[Sample]) -> dict[str, Slope]:
    """Return the slope of every process that was there all the time.

    Raises:
        ValueError: There are too few rests.
    """
    loaded, at_s = under_load(stretches, samples), load_s(stretches)
    return {
        name: slope(
            at_s,
            [one.at_rest_mb[name] for one in stretches],
            fmean(sample.mb[name] for sample in loaded),
        )
        for name in steady(samples)
    }


def steady(samples: Sequence[Sample]) -> list[str]:
    """Return the processes that were there all the time."""
    return [name for name in samples[0].mb if all(name in sample.mb for sample in samples)]


def passing(samples: Sequence[Sample]) -> list[str]:
    """Return the processes that came or went meanwhile."""
    stayed = set(steady(samples))
    return sorted({name for sample in samples for name in sample.mb} - stayed)
