"""How scans come, as endless streams of times. The same seed gives the same times."""

import heapq
import random
from collections.abc import Iterator

HOUR_S = 3600.0
#: The busy stretch of an hour.
PEAK_S = 600.0


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


def peaked_arrivals(rate: float, *, factor: float, seed: int) -> Iterator[float]:
    """Yield times (s) of independent scans, ``rate`` a second overall, that crowd in each hour.

    A stretch of every hour brings ``factor`` times as many as the mean, and the rest of the hour
    what is left; the stretch lasts ten minutes, or less where they would be too many.

    Raises:
        ValueError: The factor is below 1.
    """
    if factor < 1:
        raise ValueError("A busy stretch brings at least as many scans as the mean.")
    share = peak_share(factor)
    calm = (1 - factor * share) / (1 - share)
    for due in poisson_arrivals(rate, seed=seed):
        hours, left = divmod(due, HOUR_S)
        left /= HOUR_S  # the share of the hour's scans that have come
        early = calm * (1 - share)
        if left < early:
            yield (hours + left / calm) * HOUR_S
        else:
            yield (hours + 1 - share + (left - early) / factor) * HOUR_S


def peak_share(factor: float) -> float:
    """Return the part of an hour that is busy where it brings ``factor`` times the mean."""
    return min(PEAK_S / HOUR_S, 1 / factor)
