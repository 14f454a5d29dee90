"""The arithmetic of soaks: slopes with their uncertainty, processes by name, words."""

import os
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.soak_memory import Family, Sample, Slope, passing, slope, slopes, steady
from benchmarks.soak_report import sentences, throughput

MINUTES_15 = np.arange(0.0, 900.0, 1.0)


@given(st.floats(10, 5000), st.floats(-20, 20), st.integers(12, 900))
def test_the_slope_of_a_line_is_found(mb: float, percent: float, samples: int) -> None:
    """Growth in per cent of the mean an hour comes out, and without noise there is no doubt."""
    at_s = np.linspace(0, 900, samples)
    grown = mb * (1 + percent / 100 * (at_s - 450) / 3600)
    found = slope(list(at_s), list(grown))
    assert found.percent_per_hour == pytest.approx(percent, abs=1e-6)
    assert found.uncertainty == pytest.approx(0, abs=1e-6)
    assert found.mean_mb == pytest.approx(mb)
    assert found.mb_per_hour == pytest.approx(mb * percent / 100, abs=1e-4)


@given(st.floats(1, 1000), st.floats(0, 1e6), st.integers(0, 2**32 - 1))
def test_the_slope_does_not_hang_on_units(times: float, later_s: float, seed: int) -> None:
    """Twice the memory, or another hour of the day, is the same growth in per cent."""
    mb = 100 + np.random.default_rng(seed).normal(size=60)
    at_s = np.linspace(0, 900, 60)
    one, other = slope(list(at_s), list(mb)), slope(list(at_s + later_s), list(times * mb))
    assert other.percent_per_hour == pytest.approx(one.percent_per_hour, rel=1e-3, abs=1e-6)
    assert other.uncertainty == pytest.approx(one.uncertainty, rel=1e-3, abs=1e-6)


def _wandering(rng: np.random.Generator) -> Sequence[float]:
    """Memory without a slope whose samples hang together over some seconds, as batches make it."""
    noise = np.convolve(rng.normal(size=len(MINUTES_15) + 9), np.ones(10), "valid")
    return [float(mb) for mb in 1000 + noise / 5]


def test_the_interval_holds_the_truth_though_samples_hang_together() -> None:
    """Of 300 processes that do not grow, the intervals of nine in ten or more hold 0."""
    rng = np.random.default_rng(7)
    found = [slope(list(MINUTES_15), _wandering(rng)) for _ in range(300)]
    held = sum(abs(one.percent_per_hour) <= one.uncertainty for one in found)
    assert held >= 270


def test_a_leak_is_told_from_noise() -> None:
    """Growth of 5 % an hour under the noise of batches is called growth, none is called none."""
    rng = np.random.default_rng(11)
    still = slope(list(MINUTES_15), _wandering(rng))
    grown = [mb + second / 72 for second, mb in enumerate(_wandering(rng))]
    leaking = slope(list(MINUTES_15), grown)
    assert (still.verdict, leaking.verdict) == ("flat", "grows")


@pytest.mark.parametrize(
    ("percent", "uncertainty", "verdict"),
    [
        (0.2, 0.3, "flat"),
        (-9.0, 2.0, "flat"),
        (0.2, 3.0, "unclear"),
        (2.0, 1.5, "unclear"),
        (3.0, 0.5, "grows"),
    ],
)
def test_a_verdict_needs_the_whole_interval(
    percent: float, uncertainty: float, verdict: str
) -> None:
    """Flat and growing are said only where all of the interval is below or above the limit."""
    assert Slope(percent, uncertainty, 100.0).verdict == verdict


def test_too_few_samples_have_no_slope() -> None:
    """A line through three points would tell of noise, and is refused."""
    with pytest.raises(ValueError, match="too few"):
        slope([0.0, 1.0, 2.0], [1.0, 1.0, 1.0])


def test_a_restarted_process_has_no_slope() -> None:
    """Only those that were there all the time are judged; the others are named."""
    samples = [
        Sample(float(n), {"api": 50.0, "worker 1" if n < 5 else "worker 2": 100.0})
        for n in range(10)
    ]
    assert steady(samples) == ["api"]
    assert passing(samples) == ["worker 1", "worker 2"]
    assert list(slopes(samples)) == ["api"]


def test_processes_are_named_for_what_they_are_and_keep_their_names() -> None:
    """A child is named by its command line, its own children after it, and names are not reused."""
    code = (
        "import subprocess, sys, time;"
        "command = [sys.executable, '-c', 'input()', *sys.argv[2:]];"
        "child = subprocess.Popen(command, stdin=subprocess.PIPE) if sys.argv[2:] else None;"
        "print('there', flush=True);"
        "input()"
    )

    def start(*words: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", code, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        process.stdout.readline()
        return process

    family = Family(psutil.Process(os.getpid()))
    with start("worker", "shared.watchdog") as worker, start("api") as api:
        found = family.memory_mb()
        assert {"supervisor", "worker 1", "watchdog 1", "api"} <= set(found)
        assert min(found.values()) > 1
        assert family.memory_mb().keys() == found.keys()
        api.communicate("")
        with start("api") as second:
            again = family.memory_mb()
            assert "api 2" in again
            assert "api" not in again
            second.communicate("")
        for child in psutil.Process(worker.pid).children():
            child.kill()
        worker.communicate("")


def test_throughput_counts_every_scan_of_the_window_once() -> None:
    """Scans fall into the part of the window in which they were done; later ones into none."""
    rates = throughput([0.0, 0.5, 1.0, 3.99, 4.0, 9.0], 4.0, 4)
    assert rates == [2.0, 1.0, 0.0, 1.0]


@given(st.lists(st.floats(0, 99.9)), st.integers(1, 40))
def test_no_scan_is_lost_between_buckets(done_s: list[float], buckets: int) -> None:
    """Rates times their width add up to the scans of the window."""
    rates = throughput(done_s, 99.95, buckets)
    assert sum(rates) * 99.95 / buckets == pytest.approx(len(done_s))


def test_what_leaks_is_said() -> None:
    """A sentence names the process, its growth and its size, and others what is not known."""
    found = {
        "api": Slope(4.0, 1.0, 200.0),
        "redis": Slope(0.5, 2.0, 20.0),
        "worker 1": Slope(0.1, 0.2, 900.0),
    }
    said = sentences(found, ["worker 2"], {"503: Away": 2, "failed: Bad": 1}, 40)
    assert said[0].startswith("api leaks")
    assert "4.00 ± 1.00 % an hour, 8.0 MB of 200" in said[0]
    assert said[1] == "Too short to tell of redis (0.50 ± 2.00 % an hour): a longer soak will."
    assert "worker 2" in said[2]
    assert said[3] == ("3 errors beside 40 scans that were done: 2 x 503: Away; 1 x failed: Bad.")


def test_a_clean_soak_says_so() -> None:
    """Where all is flat and nothing failed, two sentences say that."""
    assert sentences({"api": Slope(0.1, 0.2, 90.0)}, [], {}, 40) == [
        "Nothing leaks: none of 1 processes grows by 1 % an hour.",
        "No error in 40 scans.",
    ]
