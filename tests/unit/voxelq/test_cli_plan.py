"""``voxelq plan``: its input files, its output and its exit codes."""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks.components.load import PARTS, WHOLES
from planning.cost import BadMeasurement, MeasuredCost, lane_speeds, read_cost
from planning.failure import forecast_failure
from planning.forecast import Demand, forecast
from planning.simulation import Outage
from planning.workers import LaneSpeeds
from shared.batching.cost_model import BatchCost
from tests.support.command_line import Run

NUMBERS = ("--fixed", "0.1", "--per-scan", "0.4", "--scans", "2000")


@pytest.fixture
def run(run: Run) -> Run:
    """Run `voxelq plan` in this process and return its exit code."""
    return partial(run, "plan")


def measured_round(
    clients: int, batches: dict[str, dict[str, float]], scans_per_s: float
) -> dict[str, Any]:
    """Return a round as `benchmarks.components` writes it: 0.5 s of work in 0.6 s."""
    seconds = {name: {"mean": 0.01, "std": 0.0} for name in (*PARTS, *WHOLES)}
    seconds |= {"worker": {"mean": 0.5, "std": 0.05}, "end_to_end": {"mean": 0.6, "std": 0.05}}
    return {
        "clients": clients,
        "batches": batches,
        "scans_per_s": scans_per_s,
        "seconds": seconds,
    }


def components(batches: dict[str, dict[str, float]] | None = None) -> dict[str, Any]:
    """Return a file of `benchmarks.components` with a single client and eight at once."""
    alone = measured_round(1, {"1": {"scans": 30, "mean_s": 0.5}}, 1.6)
    crowd = measured_round(8, batches or {"1": {"scans": 30, "mean_s": 0.8}}, 2.5)
    service = {"workers": 1, "lanes": 2, "device": "cpu"}
    machine = {"cores": 2}
    return {"machine": machine, "service": service, "settings": {}, "rounds": [alone, crowd]}


def written(folder: Path, numbers: object) -> Path:
    """Return a file with these numbers."""
    path = folder / "numbers.json"
    path.write_text(json.dumps(numbers))
    return path


def test_a_components_file_gives_work_lanes_and_the_rest(tmp_path: Path) -> None:
    """One client gives the work, many clients the gain of lanes; the rest is network time."""
    measured = read_cost(written(tmp_path, components()))
    assert measured.cost.seconds(1) == pytest.approx(0.5)
    assert measured.outside_s == pytest.approx(0.1)
    assert measured.busy_outside_s == pytest.approx(0.09)  # the queue is simulated
    assert measured.noise == pytest.approx(0.1, rel=0.01)
    assert measured.upload_s == pytest.approx(0.005)  # 10 ms of one of two cores
    assert measured.lanes.speedups == pytest.approx((1.0, 0.5 / (0.4 - 0.005)))
    assert measured.scans_per_s == pytest.approx(2.5, rel=0.01)
    assert measured.unit == "worker"


@pytest.mark.parametrize(("cores", "local"), [(None, True), (64, False)])
def test_a_service_without_its_number_of_cores_has_those_of_its_lanes(
    tmp_path: Path, cores: int | None, local: bool
) -> None:
    """The cores of a client's machine are not the service's, and macOS names none."""
    numbers = components()
    numbers["machine"]["cores"], numbers["service"]["local"] = cores, local
    assert read_cost(written(tmp_path, numbers)).upload_s == pytest.approx(0.005)


def test_batches_of_several_sizes_give_the_fixed_cost(tmp_path: Path) -> None:
    """Batches of several sizes give the fixed cost; too few of a size, or noise, give none."""
    crowd = {"1": {"scans": 10, "mean_s": 1.0}, "2": {"scans": 10, "mean_s": 1.4}}
    shared = read_cost(written(tmp_path, components(crowd)))
    assert shared.cost.fixed_s == pytest.approx(0.3)
    assert shared.cost.per_scan_s == pytest.approx(0.2)
    assert shared.lanes.most == pytest.approx((0.5 + 0.35) / 2 / (0.4 - 0.005))
    for odd in ({"scans": 2, "mean_s": 1.4}, {"scans": 10, "mean_s": 0.9}):
        crowd["2"] = odd
        assert read_cost(written(tmp_path, components(crowd))).cost.fixed_s < 0.01


def test_a_scan_file_gives_a_cost_too(tmp_path: Path) -> None:
    """The whole-scan benchmark's round of a single client and of several give a cost too."""
    stages = {"queue": 0.01, "total": 0.51}
    ours = {
        "idle": {"stages_s": stages, "p50_s": 0.6, "p95_s": 0.7},
        "load": {"scans_per_s": 2.4},
    }
    settings = {"VOXELQ_MAX_BATCH_SIZE": "8"}
    numbers = {"systems": [ours], "settings": settings, "cores": 2, "clients": 4}
    measured = read_cost(written(tmp_path, numbers))
    assert measured.cost.seconds(1) == pytest.approx(0.5)
    assert measured.upload_s == pytest.approx(0.05)
    assert measured.lanes.speedups == pytest.approx((1.0, 0.5 / (1 / 2.4 - 0.05)))
    assert measured.max_batch == 8


@pytest.mark.parametrize("numbers", [[], {}, {"rounds": []}, {"systems": [{}]}, "text", None])
def test_another_file_is_refused_in_words(tmp_path: Path, numbers: object) -> None:
    """A file that no benchmark wrote is refused with its name and the command to run."""
    with pytest.raises(BadMeasurement, match=r"benchmarks\.components"):
        read_cost(written(tmp_path, numbers))


def test_a_file_without_a_single_client_gives_no_cost(tmp_path: Path) -> None:
    """Without a round of a single client, the cost of a scan alone is unknown."""
    numbers = components()
    del numbers["rounds"][0]
    with pytest.raises(BadMeasurement, match="--concurrency 1"):
        read_cost(written(tmp_path, numbers))


def test_lanes_are_slower_than_workers() -> None:
    """Lanes have the measured gain: evenly on a CPU, on a GPU until the device is busy."""
    assert lane_speeds(4, 4, 1.3, on_cpu=True).speedups == pytest.approx((1, 1.1, 1.2, 1.3))
    assert lane_speeds(4, 4, 2.5, on_cpu=False).speedups == (1, 2, 2.5, 2.5)
    assert lane_speeds(2, 2, 9.0, on_cpu=True).most == 2
    assert lane_speeds(3, 1, 1.0, on_cpu=True).most == 1
    assert lane_speeds(1, 1, 1.0, on_cpu=False) == LaneSpeeds()


def test_two_numbers_make_a_plan(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """The output has the workers, their load, the waits, and the effect of a failure."""
    assert run("--load", 20_000, "--within", 3, *NUMBERS) == 0
    output = capsys.readouterr().out
    assert "20,000 scans an hour; 95 % answered within 3 s." in output
    assert "workers are enough: loaded to" in output
    assert "If one fails" in output


def test_json_holds_what_the_table_shows(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON has the cost, the demand, every forecast and the failure."""
    assert run("--load", 20_000, "--within", 3, "--burst", 2, "--json", *NUMBERS) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["demand"]["burst"] == 2
    assert plan["cost"]["cost"] == {"fixed_s": 0.1, "per_scan_s": 0.4}
    assert plan["needed"] in plan["forecasts"]
    assert 0 < plan["needed"]["utilisation"] < 1
    assert plan["needed"]["goal_s"] == plan["needed"]["answer_s"]["p95"] <= 3
    assert plan["failure"]["lasts_s"] == 600
    assert plan["scans"] == 2000


def test_programs_rely_on_the_keys_of_the_json(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """The keys stay the same when fields of the code are renamed."""
    assert run("--load", 20_000, "--within", 3, "--json", *NUMBERS) == 0
    plan = json.loads(capsys.readouterr().out)
    assert set(plan) == {"cost", "demand", "needed", "forecasts", "failure", "scans"}
    assert set(plan["demand"]) == {"scans_per_hour", "within_s", "percentile", "burst"}
    assert set(plan["needed"]) == {
        *("workers", "utilisation", "wait_s", "answer_s", "goal_s", "reached", "batch_size")
    }
    assert set(plan["failure"]) == {
        *("lasts_s", "left", "backlog_per_hour", "answer_s", "late_share", "caught_up_s")
    }
    assert plan["failure"]["left"] is None or plan["failure"]["left"] in plan["forecasts"]


def test_a_number_of_workers_may_be_given(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """With --workers the given number is enough, too few, or cannot keep up."""
    assert run("--load", 20_000, "--within", 3, "--workers", 9, *NUMBERS) == 0
    assert "9 workers are enough" in capsys.readouterr().out
    assert run("--load", 6000, "--within", 0.7, "--workers", 1, *NUMBERS) == 0
    assert "1 worker is too few" in capsys.readouterr().out
    assert run("--load", 60_000, "--within", 3, "--workers", 2, *NUMBERS) == 1
    assert "the queue would grow without end" in capsys.readouterr().err


def test_a_goal_out_of_reach_is_an_error(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """A goal below the time of a single scan gives no number of workers and exit code 1."""
    assert run("--load", 100, "--within", 0.2, *NUMBERS) == 1
    assert "no number of workers answers within 0.2 s" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--measured"),
        (("--fixed", "0.1"), "go together"),
        (("--fixed", "0", "--per-scan", "0"), "above 0"),
        (("--measured", __file__), "benchmarks.components"),
    ],
)
def test_an_incomplete_cost_is_exit_code_2(
    run: Run, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    """A missing, incomplete or unreadable cost is exit code 2, with the options to use."""
    assert run("--load", 100, "--within", 5, *arguments) == 2
    assert words in capsys.readouterr().err


def test_a_picture_is_drawn(run: Run, tmp_path: Path) -> None:
    """--plot writes a picture."""
    picture = tmp_path / "plots" / "plan.png"
    assert run("--load", 9000, "--within", 3, "--plot", picture, *NUMBERS) == 0
    assert picture.stat().st_size > 10_000


def test_without_matplotlib_only_the_picture_is_missed(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A plan needs no matplotlib; asking for a picture says what to install."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run("--load", 9000, "--within", 3, *NUMBERS) == 0
    assert run("--load", 9000, "--within", 3, "--plot", tmp_path / "plan.png", *NUMBERS) == 2
    assert "pip install matplotlib" in capsys.readouterr().err


def test_a_failure_is_noticed_when_the_lease_of_the_settings_expires(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan simulates failures with the VOXELQ_LEASE_S of the service."""
    leases_s = set()

    def recorded(at_s: float, duration_s: float, noticed_after_s: float) -> Outage:
        leases_s.add(noticed_after_s)
        return Outage(at_s, duration_s, noticed_after_s)

    monkeypatch.setattr("planning.failure.Outage", recorded)
    monkeypatch.setenv("VOXELQ_LEASE_S", "77")
    assert run("--load", 20_000, "--within", 3, *NUMBERS) == 0
    assert leases_s == {77}


def test_a_setting_that_cannot_be_used_is_usage(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a lease that no service would accept there is no plan, but exit code 2."""
    monkeypatch.setenv("VOXELQ_LEASE_S", "soon")
    assert run("--load", 20_000, "--within", 3, *NUMBERS) == 2
    assert "voxelq doctor" in capsys.readouterr().err


def test_a_failure_of_the_only_worker_leaves_none() -> None:
    """While the only worker is away all scans wait for it, and the queue grows by the load."""
    measured = MeasuredCost(BatchCost(0.1, 0.4))
    demand = Demand(3600, 3.0)
    needed = forecast(measured, demand, workers=1, scans=2000)
    failure = forecast_failure(
        measured,
        demand,
        needed,
        lambda workers: forecast(measured, demand, workers=workers),
        300.0,
        2000,
    )
    assert failure.remaining_forecast is None
    assert failure.backlog_per_hour == pytest.approx(3600)
    assert failure.response_s is not None
    assert failure.response_s.mean > 100
    assert failure.late_share > 0.9
    assert failure.caught_up_s is not None
    assert failure.caught_up_s > 60


def test_a_failure_without_affected_scans_is_reported(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """If scans are so rare that none arrives during a failure, the plan says so."""
    assert run("--load", 0.1, "--within", 3, "--outage-minutes", 0.1, *NUMBERS) == 0
    assert "hardly a scan comes meanwhile" in capsys.readouterr().out
