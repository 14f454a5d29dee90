"""The comparison of a plan with a run: real and simulated figures of the same scans."""

import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks.components.load import PARTS, NotMeasured, Round, Sample
from benchmarks.plan_check.figures import Figures
from benchmarks.plan_check.real import run_load, submit_scans
from benchmarks.plan_check.report import plot, print_report, worst
from benchmarks.plan_check.simulated import compared, cost_of, simulated
from planning.cost import MeasuredCost
from shared.batching.cost_model import BatchCost

WORK_S = 0.02


class OneByOne:
    """An endpoint whose worker takes 20 ms a scan, one after another; also its own connection."""

    name = "one by one"

    def __init__(self, fails: bool = False) -> None:
        self._fails = fails
        self._turn = threading.Lock()

    def connect(self) -> "OneByOne":
        """Return itself, for every client."""
        return self

    def predict(self) -> Sample:
        """Compute for 20 ms."""
        if self._fails:
            raise NotMeasured("the queue is full.")
        with self._turn:
            time.sleep(WORK_S)
        return Sample({}, 1, (8, 8, 8))

    def close(self) -> None:
        """Do nothing."""


def calibration(work_s: float, clients: int) -> Round:
    """Return ten calls whose scans took ``work_s``, one after the other."""
    seconds = dict.fromkeys(PARTS, 0.0) | {"inference": work_s, "network": 0.01}
    whole_s = work_s + 0.01
    wholes = {"worker": work_s, "server_total": work_s, "end_to_end": whole_s}
    return Round("REST", clients, 10 * work_s, [Sample(seconds | wholes, 1, (8, 8, 8))] * 10)


def test_figures_leave_out_the_start() -> None:
    """Mean and p95 are of the scans after the first tenth; the rate is of all."""
    arrived_s = np.arange(20.0)
    latencies = np.array([9.0, 9.0, *[1.0] * 18])
    found = Figures.of(arrived_s, latencies, 1.5)
    assert found == Figures(mean_s=1.0, p95_s=1.0, scans_per_s=1.0, batch_size=1.5)


def test_costs_around_a_load_are_averaged() -> None:
    """If the machine changes its speed, the plan uses the mean of both calibrations."""
    facts = {"workers": 1, "lanes": 1, "device": "cpu"}
    before, after = ([calibration(work_s, clients) for clients in (1, 2)] for work_s in (0.4, 0.6))
    assert cost_of([before, after], facts).cost.seconds(1) == pytest.approx(0.5)
    assert cost_of([before], facts).cost.seconds(1) == pytest.approx(0.4)
    assert cost_of([before], facts).outside_s == pytest.approx(0.01)


def test_waits_count_from_when_a_scan_was_due() -> None:
    """Of scans due at the same time the last waits for all others, even if it is sent late."""
    found = submit_scans(OneByOne(), [0.0] * 10)
    assert found.p95_s >= 8 * WORK_S
    assert found.scans_per_s <= 1 / WORK_S
    assert found.batch_size == 1


def test_a_scan_that_is_not_done_ends_the_check() -> None:
    """A load with a refused scan cannot be compared with a plan."""
    with pytest.raises(NotMeasured, match="queue is full"):
        submit_scans(OneByOne(fails=True), [0.0, 0.0])


def test_the_simulation_uses_the_same_arrivals() -> None:
    """Scans far apart take the time of a single scan; simultaneous scans wait for each other."""
    measured = MeasuredCost(BatchCost(0.0, 1.0), noise=0.0, outside_s=0.5, max_batch=1)
    apart = simulated(measured, [10.0 * n for n in range(20)], rate=0.1, workers=1)
    assert apart.mean_s == pytest.approx(1.5)
    together = simulated(measured, [0.0] * 20, rate=0.1, workers=1)
    assert together.mean_s == pytest.approx(0.5 + np.mean(range(3, 21)))
    measured = replace(measured, busy_outside_s=0.7)
    assert simulated(measured, [10.0 * n for n in range(20)], rate=0.1, workers=1) == apart
    together = simulated(measured, [0.0] * 20, rate=0.1, workers=1)
    assert together.mean_s == pytest.approx(0.7 + np.mean(range(3, 21)))


def test_a_report_shows_real_and_simulated_numbers(tmp_path: Path) -> None:
    """The table shows every ratio, the last line the worst one, and the picture is drawn."""
    measured = MeasuredCost(BatchCost(0.0, WORK_S), noise=0.0, max_batch=1)
    load = run_load(OneByOne(), load=0.5, rate=0.5 / WORK_S, seconds=0.5)
    assert len(load["due_s"]) == 12
    assert load["due_s"] == sorted(load["due_s"])
    row = compared(load, measured, workers=1)
    assert row["utilisation"] == pytest.approx(0.5)
    assert row["real"] == asdict(load["real"])
    numbers = {"workers": 1, "loads": [row]}
    console = Console(record=True, width=160)
    print_report(console, numbers)
    printed = console.export_text()
    for name, ratio in row["ratios"].items():
        assert ratio == pytest.approx(row["simulated"][name] / row["real"][name])
        assert f"x {ratio:.3f}" in printed
    assert f"at most {100 * worst([row]):.1f} % off" in printed
    plot(numbers, tmp_path / "check.png")
    assert (tmp_path / "check.png").stat().st_size > 10_000
