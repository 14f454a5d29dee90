"""The benchmarks run, and their numbers agree with each other."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.local_service import BOUND_S, ROOT, environment


def run(
    benchmark: str, *arguments: str, bound_s: float, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run one benchmark as a user does, on a terminal wide enough for its tables."""
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{benchmark}", *arguments],
        cwd=ROOT,
        env=environment(COLUMNS="200", **settings),
        capture_output=True,
        text=True,
        timeout=bound_s,
        check=False,
    )


def test_the_queue_benchmark_writes_what_it_prints(tmp_path: Path) -> None:
    """A short run measures every worker, prints its rates, and writes them with the machine."""
    small = ["--jobs", "200", "--requests", "10", "--depths", "10", "100"]
    ran = run("queue", *small, "--output", str(tmp_path), bound_s=2 * BOUND_S)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    written = json.loads((tmp_path / "queue.json").read_text())
    assert written["machine"]["cores"] >= 1
    rates = written["jobs_per_s"]
    assert list(rates)[:3] == ["SimpleWorker", "MicroBatchWorker 8", "MicroBatchWorker 32"]
    for rate in rates.values():
        assert rate > 0
        assert f"{rate:.0f}" in ran.stdout
    assert 0 < written["http"]["p50_ms"] <= written["http"]["p99_ms"]
    assert [row["queued"] for row in written["depth"]] == [10, 100]
    assert (tmp_path / "queue.png").stat().st_size > 10_000


def test_the_batching_benchmark_writes_what_it_prints(tmp_path: Path) -> None:
    """A short run simulates every policy in every case, and is the same when it is repeated."""
    written = []
    for folder in (tmp_path / "first", tmp_path / "again"):
        ran = run("batching", "--scans", "400", "--output", str(folder), bound_s=BOUND_S)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        written.append(json.loads((folder / "batching.json").read_text()))
        assert (folder / "batching.png").stat().st_size > 10_000
        for ratio, where in written[-1]["worst_against_best"].values():
            assert f"{ratio:.3f}" in ran.stdout
            assert where.split(",")[0] in ran.stdout
    rows = written[0]["rows"]
    assert len(rows) == 5 * 3 * 4 * 4
    assert {row["policy"] for row in rows} == {"VoxelQ", "fixed window", "Triton", "BentoML"}
    assert all(0 < row["mean_s"] <= row["p99_s"] for row in rows)
    assert rows == written[1]["rows"]


def test_the_scan_benchmark_measures_the_same_work_everywhere(tmp_path: Path) -> None:
    """VoxelQ and its peers find the same tumour as the bare model, and the numbers add up."""
    ran = run("scan", "--quick", "--cores", "1", "--output", str(tmp_path), bound_s=2 * BOUND_S)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    written = json.loads((tmp_path / "scan.json").read_text())
    bare, ours = written["bare"], written["systems"][0]
    plain = bare["one_thread"]
    assert plain["volume_ml"] > 1
    assert bare["can_do_scans_per_s"] == written["cores"] / plain["core_s"]
    assert max(plain["stages_s"].values()) == plain["stages_s"]["total"] > 0
    assert [row["name"] for row in written["systems"]] == [
        "VoxelQ",
        "FastAPI, model in threads",
        "FastAPI + RQ, one SimpleWorker",
    ]
    for row in written["systems"]:
        for load in (row["idle"], row["load"]):
            assert load["volume_ml"] == pytest.approx(plain["volume_ml"], rel=0.02)
            assert load["scans"] >= 3
            assert load["stages_s"]["total"] <= load["p95_s"]
            assert load["p50_s"] <= load["p95_s"]
            # the kernel counts in hundredths of a second
            assert sum(load["core_shares"].values()) == pytest.approx(1, abs=0.1)
            for part, seconds in load["core_s"].items():
                share = load["core_shares"][part] * written["cores"]
                assert seconds * load["scans_per_s"] == pytest.approx(share, rel=0.05)
        assert f"{row['load']['scans_per_s']:.2f}" in ran.stdout
        assert row["peak_mb"]["api"] > 10
    assert set(ours["load"]["core_s"]) == {"supervisor", "redis", "api", "worker", "clients"}
    ratio = ours["load"]["scans_per_s"] / bare["can_do_scans_per_s"]
    assert written["ratios"]["load_over_can_do"] == pytest.approx(ratio)
    assert f"{ratio:.2f} of what the cores can do" in ran.stdout
    assert (tmp_path / "scan.png").stat().st_size > 10_000


def test_the_gpu_benchmark_says_that_there_is_no_gpu(tmp_path: Path) -> None:
    """Without a GPU one line says so, nothing is written, and the exit code is 0."""
    ran = run("gpu", "--output", str(tmp_path), bound_s=BOUND_S, CUDA_VISIBLE_DEVICES="")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "There is no GPU here that torch can use, so nothing was measured.\n"
    assert list(tmp_path.iterdir()) == []


def test_the_mixed_benchmark_writes_what_it_prints(tmp_path: Path) -> None:
    """A short run measures three models and shared passes, and writes the ratios it prints."""
    ran = run("mixed", "--quick", "--output", str(tmp_path), bound_s=2 * BOUND_S)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    written = json.loads((tmp_path / "mixed.json").read_text())
    models = [row["model"].partition("@")[0] for row in written["streams"]]
    assert models == ["brain-tumor", "whole-volumes", "windows"]
    for row in [*written["streams"], written["windows"]]:
        assert row["ratio"] > 0
        assert f"{row['ratio']:.3f}" in ran.stdout
    assert len({tuple(shape) for shape in written["shapes"]}) == 4
    assert (tmp_path / "mixed.png").stat().st_size > 10_000
