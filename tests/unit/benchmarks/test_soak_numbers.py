"""The arithmetic of soaks: slopes with their uncertainty, processes by name, words."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.soak.memory import (
    ProcessNames,
    Sample,
    Slope,
    Stretch,
    not_permanent,
    permanent,
    slope,
    slopes,
)
from benchmarks.soak.report import sentences

RESTS_S = np.arange(60.0, 660.0, 60.0)


@given(st.floats(10, 5000), st.floats(-20, 20), st.integers(4, 90))
def test_the_slope_of_a_line_is_found(mb: float, percent: float, rests: int) -> None:
    """The growth is found in per cent of the memory under load, without noise exactly."""
    at_s = np.linspace(0, 900, rests)
    grown = mb / 3 + mb * percent / 100 * at_s / 3600
    found = slope(list(at_s), list(grown), mb)
    assert found.percent_per_hour == pytest.approx(percent, abs=1e-6)
    assert found.uncertainty == pytest.approx(0, abs=1e-6)
    assert found.mean_mb == mb
    assert found.mb_per_hour == pytest.approx(mb * percent / 100, abs=1e-4)


@given(st.floats(1, 1000), st.floats(0, 1e6), st.integers(0, 2**32 - 1))
def test_the_slope_does_not_depend_on_units(times: float, later_s: float, seed: int) -> None:
    """Twice the memory, or another start time, gives the same growth in per cent."""
    mb = 100 + np.random.default_rng(seed).normal(size=len(RESTS_S))
    one = slope(list(RESTS_S), list(mb), 100.0)
    other = slope(list(RESTS_S + later_s), list(times * mb), times * 100)
    assert other.percent_per_hour == pytest.approx(one.percent_per_hour, rel=1e-3, abs=1e-6)
    assert other.uncertainty == pytest.approx(one.uncertainty, rel=1e-3, abs=1e-6)


def test_the_interval_contains_the_true_slope() -> None:
    """Of 1,000 processes that do not grow, the intervals of 95 % contain 0."""
    rng = np.random.default_rng(7)
    found = [slope(list(RESTS_S), list(300 + rng.normal(size=10)), 1000.0) for _ in range(1000)]
    held = sum(abs(one.percent_per_hour) <= one.uncertainty for one in found)
    assert 930 <= held <= 970


def _soak(kept_mb_per_hour: float) -> tuple[list[Stretch], list[Sample]]:
    """Return memory at rest with noise and growth, and memory under load, sometimes doubled."""
    rng = np.random.default_rng(11)
    stretches, samples = [], []
    for at_s in RESTS_S:
        kept = 300 + kept_mb_per_hour * at_s / 3600
        at_rest = {"worker 1": kept + rng.normal(scale=0.2)}
        stretches.append(Stretch(at_s - 60, at_s - 20, 100, at_rest))
        for second in range(60):
            mb = kept + (rng.uniform(300, 1100) if second <= 40 else 0.0)
            samples.append(Sample(at_s - 60 + second, {"worker 1": mb}))
    return stretches, samples


def test_a_leak_is_found_under_varying_load() -> None:
    """Growth of 5 % an hour is found, though the load changes the memory by more each second.

    The per cent are those of the memory under load, without the rests.
    """
    still, leaking = (slopes(*_soak(mb))["worker 1"] for mb in (0.0, 50.0))
    assert (still.conclusion, leaking.conclusion) == ("flat", "grows")
    assert still.mean_mb == pytest.approx(1000, abs=25)


def test_the_hours_of_a_slope_are_those_of_load() -> None:
    """Rests do not count as time: memory that grows with the scans has the same slope."""
    stretches, samples = _soak(0.0)
    grown = [
        replace(one, at_rest_mb={"worker 1": 300.0 + number})
        for number, one in enumerate(stretches)
    ]
    assert slopes(grown, samples)["worker 1"].mb_per_hour == pytest.approx(3600 / 40)


@pytest.mark.parametrize(
    ("percent", "uncertainty", "conclusion"),
    [
        (0.2, 0.3, "flat"),
        (-9.0, 2.0, "flat"),
        (0.2, 3.0, "unclear"),
        (2.0, 1.5, "unclear"),
        (3.0, 0.5, "grows"),
    ],
)
def test_a_conclusion_needs_the_whole_interval(
    percent: float, uncertainty: float, conclusion: str
) -> None:
    """A slope is flat or growing only if its whole interval is below or above the limit."""
    assert Slope(percent, uncertainty, 100.0).conclusion == conclusion


def test_too_few_samples_have_no_slope() -> None:
    """A line through three points would show only noise, and is refused."""
    with pytest.raises(ValueError, match="too few"):
        slope([0.0, 1.0, 2.0], [1.0, 1.0, 1.0], 1.0)


def test_a_restarted_process_has_no_slope() -> None:
    """Only processes that ran all the time have a slope; the others are named."""
    samples = [
        Sample(float(n), {"api": 50.0, "worker 1" if n < 5 else "worker 2": 100.0})
        for n in range(10)
    ]
    stretches = [Stretch(one.at_s, one.at_s + 0.5, 1, one.mb) for one in samples]
    assert permanent(samples) == ["api"]
    assert not_permanent(samples) == ["worker 1", "worker 2"]
    assert list(slopes(stretches, samples)) == ["api"]


def test_processes_are_named_by_their_part_and_keep_their_names() -> None:
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

    names = ProcessNames(psutil.Process(os.getpid()))
    with start("worker", "shared.queue.watchdog") as worker, start("api") as api:
        found = names.memory_mb()
        assert {"supervisor", "worker 1", "watchdog 1", "api"} <= set(found)
        assert min(found.values()) > 1
        assert names.memory_mb().keys() == found.keys()
        api.communicate("")
        with start("api") as second:
            again = names.memory_mb()
            assert "api 2" in again
            assert "api" not in again
            second.communicate("")
        for child in psutil.Process(worker.pid).children():
            child.kill()
        worker.communicate("")


def test_the_sentences_name_what_leaks() -> None:
    """One sentence has the process, its growth and its size; others say what is not known."""
    found = {
        "api": Slope(4.0, 1.0, 200.0),
        "redis": Slope(0.5, 2.0, 20.0),
        "worker 1": Slope(0.1, 0.2, 900.0),
    }
    words = sentences(found, ["worker 2"], {"503: Away": 2, "failed: Bad": 1}, 40)
    assert words[0].startswith("api leaks")
    assert "4.00 ± 1.00 % an hour, 8.0 MB of 200" in words[0]
    assert (
        words[1]
        == "Too short for a conclusion on redis (0.50 ± 2.00 % an hour): run a longer soak."
    )
    assert "worker 2" in words[2]
    assert words[3] == ("3 errors beside 40 scans that finished: 2 x 503: Away; 1 x failed: Bad.")


def test_a_clean_soak_says_so() -> None:
    """If all memory is flat and nothing failed, the report is two sentences."""
    assert sentences({"api": Slope(0.1, 0.2, 90.0)}, [], {}, 40) == [
        "Nothing leaks: none of 1 processes grows by 1 % an hour.",
        "No error in 40 scans.",
    ]
