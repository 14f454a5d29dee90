"""The arithmetic of the benchmarks of whole scans."""

import gzip
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import psutil
import pytest

from benchmarks.common.core_time import CoreTime, peak_memory_mb, use_cores
from benchmarks.common.load import FinishedScan, LoadResult
from benchmarks.common.processes import python_process
from benchmarks.common.sample_scan import sample_scan
from benchmarks.gpu import Sample, parse_sample, summarise
from benchmarks.scan.run import load_numbers, ratios
from shared.sample import SAMPLE_SCAN

SPENT = CoreTime({"api": 1.0, "worker": 12.0}, idle=4.0, wall=20.0)


def load() -> LoadResult:
    """Return ten scans in ten seconds, of 0.1 to 1.0 s."""
    scans = [
        FinishedScan(100.5 + n, (n + 1) / 10, {"queue": 0.0, "total": (n + 1) / 10}, 40.0)
        for n in range(10)
    ]
    return LoadResult(scans, began_s=100.0, window_s=10.0, core_time=SPENT)


def test_shares_of_the_cores_add_up_to_all_of_them() -> None:
    """Core time that was neither idle nor used by the parts was used by others."""
    assert SPENT.shares() == pytest.approx(
        {"api": 0.05, "worker": 0.6, "idle": 0.2, "others": 0.15}
    )


def test_time_between_two_moments_is_their_difference() -> None:
    """Parts, idle and wall are each counted from the first moment on."""
    later = CoreTime({"api": 1.5, "worker": 20.0}, idle=5.0, wall=30.0)
    assert later.since(SPENT) == CoreTime({"api": 0.5, "worker": 8.0}, idle=1.0, wall=10.0)


def test_a_process_is_counted_once_though_another_part_started_it() -> None:
    """The children of a part belong to it, unless they are a part themselves."""
    busy = "import os, sys; list(map(hash, range(3_000_000))); print(os.getpid())"
    busy += "; sys.stdout.flush(); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        parent, child = psutil.Process(), psutil.Process(process.pid)
        together = CoreTime.now({"parent": [parent]}).parts["parent"]
        apart = CoreTime.now({"parent": [parent], "child": [child]}).parts
        memory = peak_memory_mb({"parent": [parent], "child": [child]})
        process.communicate()
    assert apart["child"] > 0
    assert apart["parent"] < together
    assert memory["parent"] > memory["child"] > 1


def test_more_cores_than_there_are_cannot_be_used() -> None:
    """Asking for too many cores is refused with a reason, and changes nothing."""
    cores = psutil.Process().cpu_affinity()
    with pytest.raises(ValueError, match="There are"):
        use_cores(10_000)
    assert psutil.Process().cpu_affinity() == cores


def test_the_numbers_of_a_load_are_per_second_and_per_scan() -> None:
    """Rates are for each second of the window, core times for each scan."""
    numbers = load_numbers(load())
    assert (numbers["scans"], numbers["scans_per_s"]) == (10, 1.0)
    assert numbers["p50_s"] == pytest.approx(0.55)
    assert 0.9 < numbers["p95_s"] < 1.0
    assert numbers["stages_s"]["total"] == pytest.approx(0.55)
    assert numbers["core_s"] == {"api": 0.1, "worker": 1.2}


def test_ratios_are_to_the_bare_work() -> None:
    """One client is compared with all threads, several clients with the plain loop."""
    stages = {"load": 0.1, "preprocess": 0.1, "inference": 0.2, "postprocess": 0.05}
    bare = {
        "all_threads": {"stages_s": {**stages, "store": 0.05, "total": 0.5}},
        "can_do_scans_per_s": 4.0,
        "side_by_side_scans_per_s": 3.0,
    }
    ours = {"idle": {"p50_s": 0.6}, "load": {"scans_per_s": 3.6}}
    assert ratios(bare, ours) == pytest.approx(
        {
            "idle_p50_s": 0.6,
            "idle_over_bare": 1.2,
            "idle_over_read_network_write": 0.6 / 0.35,
            "load_over_can_do": 0.9,
            "load_over_side_by_side": 1.2,
        }
    )


def test_the_scan_is_the_sample_in_another_matrix() -> None:
    """Shape and type are as requested, and the head is where it is in the sample."""
    scan = nibabel.Nifti1Image.from_bytes(gzip.decompress(sample_scan((64, 48, 32))))
    sample = nibabel.Nifti1Image.from_filename(SAMPLE_SCAN)
    assert scan.shape == (64, 48, 32)
    assert scan.get_data_dtype() == np.int16
    centres = []
    for image in (scan, sample):
        voxels = np.asarray(image.dataobj, dtype=np.float64)
        middle = np.array([np.average(axis, weights=voxels) for axis in np.indices(image.shape)])
        centres.append(image.affine[:3, :3] @ middle + image.affine[:3, 3])
    assert np.abs(centres[0] - centres[1]).max() < 1


def test_the_drivers_numbers_of_a_gpu_are_read() -> None:
    """Per cent become a share; a line without numbers gives no sample."""
    assert parse_sample("93, 1210\n", 5.0) == Sample(5.0, 0.93, 1210.0)
    assert parse_sample("[N/A], 1210", 5.0) is None
    assert parse_sample("", 5.0) is None


def test_a_gpu_counts_while_the_load_lasts() -> None:
    """Busy share and peak are of the window, rest is the last sample, above the memory before."""
    samples = [
        Sample(99.0, 0.0, 9000.0),
        Sample(101.0, 0.8, 3000.0),
        Sample(109.0, 1.0, 4000.0),
        Sample(115.0, 0.0, 1500.0),
    ]
    row = summarise(load(), samples, workers=2, growth=True, before_mib=1000.0)
    assert row.scans_per_hour == 3600
    assert row.busy == pytest.approx(0.9)
    assert (row.peak_mib, row.rest_mib) == (3000.0, 500.0)
    assert row.clients == 16


def test_a_process_ends_with_its_block(tmp_path: Path) -> None:
    """No process that a benchmark started is left behind."""
    with python_process(["-c", "import time; time.sleep(600)"], tmp_path / "log", {}) as process:
        assert process.poll() is None
    assert process.poll() is not None


def test_an_error_shows_what_the_process_wrote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If a block fails, the standard error of its process is shown."""

    def fail() -> None:
        command = ["-c", "import sys; sys.exit('no weights')"]
        with python_process(command, tmp_path / "log", {}) as process:
            process.wait()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert "no weights" in capsys.readouterr().err
