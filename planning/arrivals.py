"""Arrival times of scans, as endless streams. The same seed gives the same times."""

import heapq
import random
from collections.abc import Iterator

HOUR_S = 3600.0
#: The longest that the peak within each hour may last.
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


def bursty_arrivals(rate: float, *, series_size: int, gap_s: float, seed: int) -> Iterator[float]:
    """Yield times (s) of scans that arrive in series, ``rate`` a second overall.

    A series has ``series_size`` scans with ``gap_s`` between them. Series begin independently, and
    may overlap.
    """
    series: list[float] = []
    for start_s in poisson_arrivals(rate / series_size, seed=seed):
        while series and series[0] <= start_s:
            yield heapq.heappop(series)
        for number in range(series_size):
            heapq.heappush(series, start_s + number * gap_s)


def peaked_arrivals(rate: float, *, peak_factor: float, seed: int) -> Iterator[float]:
    """Yield times (s) of independent scans, ``rate`` a second overall, with a peak in each hour.

    The peak is the end of the hour. In it the rate is ``peak_factor`` times the mean, and lower in
    the rest of the hour. It lasts ten minutes, or less if all scans of the hour arrive sooner.

    Raises:
        ValueError: The factor is below 1.
    """
    if peak_factor < 1:
        raise ValueError("A peak has at least as many scans as the mean.")
    share = peak_share(peak_factor)
    calm_factor = (1 - peak_factor * share) / (1 - share)
    scans_before_peak = calm_factor * (1 - share)  # as a share of the hour's scans
    for steady_s in poisson_arrivals(rate, seed=seed):
        # times at a steady rate: spread out before the peak, and moved together within it
        hours, elapsed_s = divmod(steady_s, HOUR_S)
        elapsed_share = elapsed_s / HOUR_S  # of the steady hour, and so of its scans
        if elapsed_share < scans_before_peak:
            yield (hours + elapsed_share / calm_factor) * HOUR_S
        else:
            in_peak = (elapsed_share - scans_before_peak) / peak_factor
            yield (hours + 1 - share + in_peak) * HOUR_S


def peak_share(peak_factor: float) -> float:
    """Return the part of an hour that a peak of ``peak_factor`` times the mean rate lasts."""
    return min(PEAK_S / HOUR_S, 1 / peak_factor)
