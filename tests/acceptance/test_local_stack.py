"""Real runs of `voxelq up` and `voxelq demo`, also with parts that are killed."""

import signal
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import psutil
import pytest

from tests.support.local_service import (
    BOUND_S,
    VOXELQ,
    LocalService,
    environment,
    local_service,
    until,
)
from tests.support.scans import nifti, voxels
from voxelq.local.valkey import free_port

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A small scan."""
    path = tmp_path / "scan.nii"
    path.write_bytes(nifti(voxels((32, 32, 32))))
    return path


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data folder with a space in its name."""
    return tmp_path / "data of mine"


def _end(service: LocalService, number: signal.Signals) -> int:
    service.note_processes()
    service.process.send_signal(number)
    code = service.process.wait(BOUND_S)
    until(lambda: not service.survivors(), "no process of the stack was left")
    return code


def _finish_all(service: LocalService, ids: list[str]) -> set[str]:
    with service.client() as client:
        return {client.job(job_id).wait(BOUND_S).job.status for job_id in ids}


def test_the_demo_leaves_a_mask_in_the_scans_own_grid(tmp_path: Path) -> None:
    """`voxelq demo` ends by itself and leaves the sample, its mask, its picture and its JSON."""
    done = subprocess.run(
        [*VOXELQ, "demo", "--output", "demo"],
        cwd=tmp_path,
        env=environment(TMPDIR=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=BOUND_S * 2,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "finished" in done.stdout
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == [
        "sample_flair.json",
        "sample_flair.nii.gz",
        "sample_flair_mask.nii.gz",
        "sample_flair_preview.png",
    ]
    scan = nibabel.Nifti1Image.from_filename(tmp_path / "demo" / "sample_flair.nii.gz")
    mask = nibabel.Nifti1Image.from_filename(tmp_path / "demo" / "sample_flair_mask.nii.gz")
    assert mask.shape == scan.shape
    np.testing.assert_allclose(mask.affine, scan.affine, atol=1e-5)
    left = [path.name for path in tmp_path.iterdir() if path.name.startswith("voxelq-demo-")]
    assert left == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_drained_stack_leaves_no_process_and_keeps_its_queue(
    data_dir: Path, scan: Path, number: signal.Signals
) -> None:
    """After Ctrl-C or SIGTERM no process is left, and after a restart the queued jobs finish."""
    with local_service(data_dir, "--workers", "2") as service:
        assert len(service.part("-m worker")) == 2
        with service.client() as client:
            ids = [client.submit(scan).id for _ in range(6)]
        assert _end(service, number) == 0
    with local_service(data_dir) as service:
        assert _finish_all(service, ids) == {"finished"}


def test_killed_parts_are_started_again(data_dir: Path, scan: Path) -> None:
    """A kill -9 of the worker, the queue server or the API loses no job; each is restarted."""
    with local_service(data_dir, "--workers", "1", VOXELQ_LEASE_S="2") as service:
        ids = []
        for words in ("-m worker", "valkey-server", "-m api"):
            (victim,) = service.part(words)
            with service.client() as client:
                ids += [client.submit(scan).id for _ in range(2)]
            victim.kill()
            until(
                lambda words=words, victim=victim: any(  # type: ignore[misc]
                    part.pid != victim.pid for part in service.part(words)
                ),
                f"{words} was started again",
            )
            until(service.is_ready, "the service was ready again")
        assert _finish_all(service, ids) == {"finished"}
        assert "was ended by SIGKILL; starting it again" in service.words()
        assert str(data_dir / "logs") in service.words()
        assert _end(service, signal.SIGTERM) == 0


def test_a_killed_stack_leaves_no_process_and_loses_no_job(data_dir: Path, scan: Path) -> None:
    """A kill -9 of `voxelq up` ends its children too, and the next start has every job."""
    with local_service(data_dir) as service:
        with service.client() as client:
            ids = [client.submit(scan).id for _ in range(4)]
        assert _end(service, signal.SIGKILL) == -signal.SIGKILL
    with local_service(data_dir, VOXELQ_LEASE_S="2") as service:
        assert _finish_all(service, ids) == {"finished"}


def test_a_data_folder_serves_one_stack_and_a_port_one_service(
    data_dir: Path, tmp_path: Path
) -> None:
    """A second stack on the same folder or port prints the reason and exits with 2."""
    with local_service(data_dir) as service:
        port = service.url.rpartition(":")[2]
        for options, words in (
            (["--port", str(free_port()), "--data-dir", str(data_dir)], "Another `voxelq up`"),
            (["--port", port, "--data-dir", str(tmp_path / "other")], f"Port {port}"),
        ):
            second = subprocess.run(
                [*VOXELQ, "up", *options],
                env=environment(),
                capture_output=True,
                text=True,
                timeout=BOUND_S,
                check=False,
            )
            assert second.returncode == 2
            assert words in second.stderr
        assert service.is_ready()


def test_a_stack_that_can_never_start_ends_with_a_reason(data_dir: Path) -> None:
    """A setting with which no part would start ends `voxelq up` at once, with its name."""
    done = subprocess.run(
        [*VOXELQ, "up", "--port", "0", "--data-dir", str(data_dir)],
        env=environment(VOXELQ_MAX_QUEUED="none"),
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )
    assert done.returncode == 2
    assert "MAX_QUEUED" in done.stderr


def test_the_queue_server_asks_for_a_password(data_dir: Path) -> None:
    """Without the password from the data folder no client can use the queue."""
    with local_service(data_dir) as service:
        (server,) = service.part("valkey-server")
        assert server.username() == psutil.Process().username()
        config = data_dir / "redis" / "valkey.conf"
        assert config.stat().st_mode & 0o077 == 0
        assert "requirepass" in config.read_text()
        password = config.read_text().split("requirepass ")[1].split()[0]
        assert password not in " ".join(server.cmdline())
