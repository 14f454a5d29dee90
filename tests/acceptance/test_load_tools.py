"""The load tools run against real services, and the numbers that they write agree."""

import csv
import json
import subprocess
import sys
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from benchmarks.soak.memory import slope
from tests.support.local_service import BOUND_S, ROOT, environment, local_service
from tests.support.tiny_service import job, problem, serving

pytestmark = pytest.mark.timeout(600)

SMALL = ("--shapes", "small")


def run(*arguments: str, code: int = 0) -> str:
    """Run a module of this repository; return what it printed."""
    ran = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=environment(COLUMNS="250", VOXELQ_DEVICE="cpu"),
        capture_output=True,
        text=True,
        timeout=3 * BOUND_S,
        check=False,
    )
    assert ran.returncode == code, ran.stdout + ran.stderr
    return ran.stdout


def rows(path: Path) -> list[dict[str, str]]:
    """Read a CSV."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_fault_of_a_job_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    """A failed job, a missing mask, a too long wait and a cancel without effect are failures."""
    with serving() as service:
        service.on("POST", "/predict", 200, job("01B", status="finished"))
        service.on("POST", "/predict", 200, job("01C", status="failed", error=problem(422, "")))
        service.on("POST", "/jobs", 202, job("01A"))
        service.on("GET", "/jobs/01A", 200, job("01A"))
        for name in ("01A", "01B", "01C"):
            service.on("DELETE", f"/jobs/{name}", 204, b"")
        users = ("Polls", "Blocks", "Withdraws")
        run(
            *("locust", "--headless", "--only-summary", "--exit-code-on-error", "0", *users),
            *("--host", service.url, "--users", "15", "--spawn-rate", "30", "-t", "8", *SMALL),
            *("--stop-timeout", "60", "--wait-limit", "1", "--csv", str(tmp_path / "run")),
        )
        sent = list(service.requests)
    reasons = {(row["Name"], row["Error"]) for row in rows(tmp_path / "run_failures.csv")}
    assert reasons >= {
        ("time to result", "failed: Refused"),
        ("time to result", "response without a mask"),
        ("time to result", "no result within 1 s"),
        ("cancelled", "still queued"),
    }
    results = {row["Name"]: row for row in rows(tmp_path / "run_stats.csv") if row["Type"] == "JOB"}
    assert results["time to result"]["Failure Count"] == results["time to result"]["Request Count"]
    assert "batch size (scans)" not in results
    bodies = {request.body for request in sent if request.method == "POST"}
    assert all(body.startswith(b"\x1f\x8b") for body in bodies)
    assert "/predict?wait=1" in {request.path for request in sent}


def check_row(row: dict[str, str], stats: list[dict[str, str]]) -> None:
    """Compare a row of a summary with locust's own table."""
    by_name = {(one["Type"], one["Name"]): one for one in stats}
    jobs = {name: one for (kind, name), one in by_name.items() if kind == "JOB"}
    results = jobs["time to result"]
    assert int(row["jobs"]) == int(results["Request Count"]) - int(results["Failure Count"]) > 0
    everything = int(by_name["", "Aggregated"]["Request Count"])
    custom = sum(int(one["Request Count"]) for one in jobs.values())
    assert int(row["requests"]) == everything - custom >= int(row["jobs"])
    assert (row["job_failures"], row["request_failures"], row["reasons"]) == ("0", "0", "")
    assert float(row["jobs_per_s"]) == pytest.approx(float(results["Requests/s"]))
    assert float(row["p50_s"]) == float(results["50%"]) / 1000
    assert float(row["p50_s"]) <= float(row["p95_s"])
    assert float(row["queue_p50_s"]) <= float(row["p50_s"])
    assert 1 <= float(row["batch_mean"]) <= 4
    for share in ("workers_busy", "cores_idle", "others"):
        assert row[share] == "" or 0 <= float(row[share]) <= 1
    # one is rounded to locust's two digits, the other is exact
    assert int(jobs["time in queue"]["Request Count"]) == int(row["jobs"])


def test_a_scale_run_writes_locusts_numbers(tmp_path: Path) -> None:
    """Two numbers of workers give two reports, and table, plot and text agree."""
    options = (
        *("benchmarks.scale", "--num-workers", "1", "2", "--num-users", "2", "--spawn-rate", "20"),
        *("--run-time", "6s", "--output", str(tmp_path), *SMALL),
    )
    printed, folder = run(*options), tmp_path / "cpu"
    summary = rows(folder / "summary.csv")
    assert [(row["workers"], row["users"]) for row in summary] == [("1", "2"), ("2", "2")]
    text = (folder / "scale.md").read_text()
    for row in summary:
        stem = f"{row['workers']}_2_20"
        check_row(row, rows(folder / "csv" / f"{stem}_stats.csv"))
        assert row["device"] == "cpu"
        assert "batch size (scans)" in (folder / f"{stem}.html").read_text()
        rate = f"{float(row['jobs_per_s']):.2f} scans/s"
        assert rate in text
        assert rate in printed
    times = float(summary[1]["jobs_per_s"]) / float(summary[0]["jobs_per_s"])
    assert f"2 workers do {times:.2f} times what 1 worker can do." in text
    jobs = sum(int(row["jobs"]) for row in summary)
    assert f"None of {jobs} jobs failed." in text
    assert (folder / "scale.png").stat().st_size > 10_000
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*.html")}
    before = (folder / "summary.csv").read_text()
    assert "2 of 2 runs were done before" in run(*options, "--resume")
    assert (folder / "summary.csv").read_text() == before
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.html")} == written


def test_a_service_that_runs_already_is_measured_as_it_is(tmp_path: Path) -> None:
    """With `--host` nothing is started or stopped, and no scan is left behind."""
    with local_service(tmp_path / "data", VOXELQ_DEVICE="cpu") as service:
        run(
            *("benchmarks.scale", "--host", service.url, "--num-users", "2"),
            *("--spawn-rate", "20", "--run-time", "5s", "--output", str(tmp_path), *SMALL),
        )
        (row,) = rows(tmp_path / "cpu" / "summary.csv")
        assert service.is_ready()
        with service.client() as client:
            left = list(client.jobs())
    check_row(row, rows(tmp_path / "cpu" / "csv" / "1_2_20_stats.csv"))
    assert (row["workers"], row["max_batch_size"]) == ("1", "")
    assert left == []


def test_a_service_that_is_not_there_is_not_measured(tmp_path: Path) -> None:
    """One line says that no service answers, and nothing is written."""
    run("benchmarks.scale", "--host", "http://127.0.0.1:9", "--output", str(tmp_path), code=1)
    assert list(tmp_path.iterdir()) == []


def test_a_soak_reports_every_process(tmp_path: Path) -> None:
    """Slopes are those of the memory in the written rests, and scans add up."""
    printed = run(
        *("benchmarks.soak", "--minutes", "0.15", "--rests", "6", "--rest-seconds", "0.5"),
        *("--clients", "2", "--output", str(tmp_path), *SMALL),
    )
    written = json.loads((tmp_path / "soak.json").read_text())
    samples = rows(tmp_path / "soak_memory.csv")
    parts = {"supervisor", "redis", "api", "worker 1", "watchdog 1"}
    assert parts <= set(written["processes"]) | set(written["passing"])
    stretches = written["stretches"]
    assert len(stretches) == 6
    load_s = list(accumulate(one["ended_s"] - one["began_s"] for one in stretches))
    assert load_s[-1] >= 60 * written["minutes"]
    after = [n for n, end_s in enumerate(load_s) if end_s > 60 * written["warm_up_minutes"]]
    loaded = [
        row
        for row in samples
        if any(
            stretches[n]["began_s"] <= float(row["at_s"]) <= stretches[n]["ended_s"] for n in after
        )
    ]
    for name, figures in written["processes"].items():
        found = slope(
            [load_s[n] for n in after],
            [stretches[n]["at_rest_mb"][name] for n in after],
            fmean(float(row[name]) for row in loaded),
        )
        assert figures["mean_mb"] == pytest.approx(found.mean_mb, abs=0.01)
        # memory under load is written to a thousandth of a MB
        assert figures["percent_per_hour"] == pytest.approx(
            found.percent_per_hour, rel=1e-3, abs=1e-6
        )
        assert name in printed
    for one, after_it in pairwise(stretches):
        later = [row for row in samples if one["ended_s"] < float(row["at_s"])]
        at_rest = [row for row in later if float(row["at_s"]) < after_it["began_s"]]
        assert float(at_rest[-1]["api"]) == pytest.approx(one["at_rest_mb"]["api"], abs=0.01)
    assert (written["errors"], written["workers"]) == ({}, 1)
    assert written["scans"] == sum(one["scans"] for one in stretches) > 0
    assert written["scans_per_s"] == pytest.approx(written["scans"] / load_s[-1])
    for sentence in written["conclusion"]:
        assert sentence in printed.replace("\n", " ")
    assert (tmp_path / "soak.png").stat().st_size > 10_000


def test_blocked_clients_all_get_their_results(tmp_path: Path) -> None:
    """All clients are blocked at once, each has a result, and the times are consistent."""
    printed = run(
        "benchmarks.blocked", "--clients", "24", "--workers", "2", "--output", str(tmp_path)
    )
    waves: list[dict[str, Any]] = json.loads((tmp_path / "blocked.json").read_text())["waves"]
    assert [wave["way"] for wave in waves] == ["predict", "wait"]
    for wave in waves:
        assert (wave["clients"], wave["workers"], wave["blocked_at_once"]) == (24, 2, 24)
        assert (wave["statuses"], wave["errors"]) == ({"200 finished": 24}, 0)
        assert 0 < wave["p50_s"] <= wave["p95_s"]
        # every blocked client waited at least while the workers were stopped, none after the end
        assert wave["p50_s"] > wave["all_answered_s"] / 24
        assert wave["woken_p50_ms"] <= wave["woken_p95_ms"] <= 1000 * wave["p95_s"]
        assert wave["mb_blocked"] > 20
        assert 0 <= wave["cores_while_blocked"] <= 1
        assert f"{wave['p95_s']:.2f}" in printed
