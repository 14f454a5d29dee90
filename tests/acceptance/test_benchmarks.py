"""The benchmarks run, and their numbers agree with each other."""

import json
import subprocess
import sys
from pathlib import Path

from tests.local_service import BOUND_S, ROOT, environment


def test_the_queue_benchmark_writes_what_it_prints(tmp_path: Path) -> None:
    """A short run measures every worker, prints its rates, and writes them with the machine."""
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.queue", "--jobs", "200", "--requests", "10"),
            *("--depths", "10", "100", "--output", str(tmp_path)),
        ],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=2 * BOUND_S,
        check=False,
    )
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
        ran = subprocess.run(
            [
                *(sys.executable, "-m", "benchmarks.batching", "--scans", "400"),
                *("--output", str(folder)),
            ],
            cwd=ROOT,
            env=environment() | {"COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=BOUND_S,
            check=False,
        )
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
