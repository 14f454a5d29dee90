"""`voxelq up` with the real model and parts that die or hang, and a soak as a user runs it."""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.common.processes import ROOT
from benchmarks.faults.kill_oldest import kill_oldest
from tests.support.local_service import environment, local_service, until
from tests.support.scans import nifti, voxels
from voxelq.local.hang_watch import PROBE_S

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """The folder of a stack's state."""
    return tmp_path / "data"


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A small scan."""
    path = tmp_path / "scan.nii"
    path.write_bytes(nifti(voxels((32, 32, 32))))
    return path


def test_scans_survive_their_workers() -> None:
    """All scans finish, none twice, while the oldest worker is killed every two seconds."""
    # on a loaded machine a worker starts so slowly that it may be killed at the same scan each time
    result = kill_oldest(
        scans=30, workers=2, every_s=2.0, for_s=14.0, bound_s=180.0, max_attempts=10
    )
    assert result.kills >= 5
    assert result.done == {"finished": 30}
    assert result.twice == 0


def test_a_soak_is_reported_and_drawn(tmp_path: Path) -> None:
    """A short soak ends with no invariant violated, and writes numbers, table and picture."""
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


def test_a_part_that_dies_again_and_again_is_restarted(data_dir: Path) -> None:
    """The stack starts once the cause of many deaths is removed, and reports them until then.

    The cause is a queue file that the server cannot read.
    """
    manifest = data_dir / "redis" / "appendonlydir" / "appendonly.aof.manifest"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("not a manifest\n")
    terminal = data_dir.parent / "terminal.txt"

    def repair() -> None:
        hint = f"see {data_dir / 'logs' / 'redis.log'}"
        until(lambda: "not ready yet" in terminal.read_text(), "it said that it is not ready")
        assert hint in terminal.read_text()
        manifest.unlink()

    terminal.touch()
    with ThreadPoolExecutor() as pool:
        repaired = pool.submit(repair)
        with local_service(data_dir) as service:
            repaired.result()
            deaths = service.words().count("redis ended (1)")
            assert deaths >= 5


@pytest.mark.parametrize("words", ["-m api", "-m worker", "valkey-server"])
def test_a_part_that_hangs_is_started_again(data_dir: Path, scan: Path, words: str) -> None:
    """A part that hangs, and so never ends by itself, is killed and started again."""
    with local_service(data_dir, "--workers", "1") as service:
        time.sleep(2 * PROBE_S)  # by then it has answered a probe
        (hung,) = service.part(words)
        hung.suspend()
        until(lambda: not hung.is_running(), "the part that hangs was killed")
        until(service.is_ready, "the service was ready again")
        assert "has not answered" in service.words()
        with service.client() as client:
            assert client.predict(scan).job.status == "finished"
