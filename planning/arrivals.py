"""Arrival times of scans, as endless streams. The same seed gives the same times."""

import heapq
import random
from collections.abc import Iterator

HOUR_S = 3600.0
#: The longest peak of an hour.
PEAK_S = 600.0


def poisson_arrivals(rate: float, *, seed: int) -> Iterator[float]:
    """Yield times (s) at which independent scans arrive, ``rate`` a second, without end."""
    chance, now_s = random.Random(seed), 0.0
    while True:
        now_s += chance.expovariate(rate)
        yield now_s


def constant_arrivals(rate: float) -> Iterator[float]:
    """Yield times (s) of scans that arrive evenly, ``rate`` a second, without end."""
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
    """Yield times (s) of independent scans, ``rate`` a second overall, with a peak in each hour.

    In the peak ``factor`` times as many scans arrive as in the mean, and fewer in the rest of the
    hour. The peak lasts ten minutes, or less if all scans of the hour arrive sooner.

    Raises:
        ValueError: The factor is below 1.
    """
    if factor < 1:
        raise ValueError("A peak has at least as many scans as the mean.")
    share = peak_share(factor)
    calm = (1 - factor * share) / (1 - share)
    for due in poisson_arrivals(rate, seed=seed):
        hours, left = divmod(due, HOUR_S)
        left /= HOUR_S  # the share of the hour's scans that have arrived
        early = calm * (1 - share)
        if left < early:
            yield (hours + left / calm) * HOUR_S
        else:
            yield (hours + 1 - share + (left - early) / factor) * HOUR_S


def peak_share(factor: float) -> float:
    """Return the part of an hour that a peak of ``factor`` times the mean lasts."""
    return min(PEAK_S / HOUR_S, 1 / factor)
