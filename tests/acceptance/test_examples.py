"""The example programs, run as a user runs them on a real service."""

import csv
import io
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np

from tests.support.local_service import BOUND_S, ROOT, environment, local_service
from tests.support.scans import AFFINE, gz, nifti, voxels

FOLDER = ROOT / "examples" / "folder.py"


def test_a_folder_of_scans_becomes_a_table_and_masks(tmp_path: Path) -> None:
    """Every scan has its row in the folder's order; a bad one has its reason, others their mask."""
    scans, here = tmp_path / "scans", tmp_path / "here"
    scans.mkdir()
    here.mkdir()
    (scans / "a.nii").write_bytes(nifti(voxels((32, 32, 32))))
    (scans / "b.nii.gz").write_bytes(b"no scan at all" * 40)
    (scans / "c.nii.gz").write_bytes(gz(nifti(voxels((32, 30, 28)))))
    (scans / "notes.txt").write_text("no scan")
    with local_service(tmp_path / "data", "--workers", "1") as service:
        done = subprocess.run(
            [sys.executable, FOLDER, scans],
            cwd=here,
            env=environment(VOXELQ_URL=service.url),
            capture_output=True,
            text=True,
            timeout=BOUND_S,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["scan"] for row in rows] == ["a.nii", "b.nii.gz", "c.nii.gz"]
    assert [bool(row["error"]) for row in rows] == [False, True, False]
    for row in (rows[0], rows[2]):
        assert row["present"] in {"True", "False"}
        assert 0 <= float(row["probability"]) <= 1
        assert float(row["volume_ml"]) >= 0
    assert sorted(path.name for path in here.iterdir()) == ["a_mask.nii.gz", "c_mask.nii.gz"]
    mask = nibabel.Nifti1Image.from_filename(here / "c_mask.nii.gz")
    assert mask.shape == (32, 30, 28)
    np.testing.assert_allclose(mask.affine, AFFINE, atol=1e-4)


def test_the_folder_takes_ten_lines() -> None:
    """The example has the number of lines that the README states, without imports and docstring."""
    code = FOLDER.read_text().rpartition("import Client, VoxelQError\n")[2]
    assert len([line for line in code.splitlines() if line]) == 10
