"""`voxelq up` with the real model under faults, and a soak as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.faults.kill_oldest import kill_oldest
from benchmarks.faults.parts import ROOT
from tests.local_service import environment


def test_scans_outlive_their_workers() -> None:
    """All scans finish, none twice, while the oldest worker is killed every two seconds."""
    came = kill_oldest(scans=30, workers=2, every_s=2.0, for_s=14.0, bound_s=180.0)
    assert came.kills >= 5
    assert came.done == {"finished": 30}
    assert came.twice == 0


def test_a_soak_is_told_and_drawn(tmp_path: Path) -> None:
    """A short soak ends with all truths held, and leaves its numbers, its table and its picture."""
    command = ["-m", "benchmarks.faults", "--minutes", "0.4", "--seed", "7"]
    done = subprocess.run(
        [sys.executable, *command, "--output", str(tmp_path)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    written = json.loads((tmp_path / "faults_soak.json").read_text())
    assert written["violations"] == []
    assert written["lost"] == 0
    assert set(written["outcomes_per_job"]) == {"1"}
    table = (tmp_path / "faults_soak.md").read_text()
    for episode in written["episodes"]:
        assert episode["fault"] in table or "two at once" in table
    assert (tmp_path / "faults_soak.png").stat().st_size > 10_000
