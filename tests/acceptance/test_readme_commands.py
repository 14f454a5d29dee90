"""The README's commands, typed as they stand there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np

from tests.local_service import BOUND_S, ROOT, environment, local_service

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
MADE = [line for block in BLOCKS for line in block.splitlines() if line.startswith("make ")]
TYPED = [block for block in BLOCKS if block.startswith(("voxelq ", "curl "))]


def test_every_make_target_of_the_readme_exists() -> None:
    """`make` knows how to do all that the README has it do."""
    assert len(MADE) >= 5
    for line in MADE:
        subprocess.run([*line.split(), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


def test_the_commands_of_the_readme_work_in_their_order(tmp_path: Path) -> None:
    """A reader who types the calls one after the other gets masks, pictures and results."""
    assert len(TYPED) == 3
    assert len(PYTHON) == 1
    here = tmp_path / "reader"
    here.mkdir()
    with local_service(tmp_path / "data") as service:
        script = "\n".join(TYPED).replace("http://127.0.0.1:8080", service.url)
        typed = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=here,
            env=os.environ
            | {
                "VOXELQ_URL": service.url,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
            capture_output=True,
            text=True,
            timeout=BOUND_S,
            check=False,
        )
        written = subprocess.run(
            [sys.executable, "-c", PYTHON[0].replace("http://127.0.0.1:8080", service.url)],
            cwd=here,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=BOUND_S,
            check=False,
        )
    assert written.returncode == 0, written.stderr
    assert written.stdout.startswith("queued 0.0\n")
    assert "finished 1.0\nTrue " in written.stdout
    assert written.stdout.count("Label(value=1") == 2
    assert typed.returncode == 0, typed.stdout + typed.stderr
    # the calls print several jobs after each other; the last is the blocking one's
    last = [found.start() for found in re.finditer(r'{"id":"\w+","status"', typed.stdout)][-1]
    predicted = json.loads(typed.stdout[last:])
    assert (predicted["status"], predicted["priority"]) == ("finished", "stat")
    scan = nibabel.Nifti1Image.from_filename(here / "scan.nii.gz")
    for path in (here / "mask.nii.gz", here / "results" / "scan_mask.nii.gz"):
        mask = nibabel.Nifti1Image.from_filename(path)
        assert mask.shape == scan.shape
        np.testing.assert_allclose(mask.affine, scan.affine, atol=1e-4)
    assert (here / "preview.png").read_bytes().startswith(b"\x89PNG")
