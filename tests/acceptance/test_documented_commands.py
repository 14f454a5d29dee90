"""The commands of the README and of the documentation, run as they are written."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests.support.documents import PAGES, README, blocks, name_of
from tests.support.local_service import BOUND_S, ROOT, LocalService, local_service

ADDRESS = "http://127.0.0.1:8080"
#: Commands that install or serve; other tests run them.
MAKE = re.compile(r"^make .*\n", re.MULTILINE)


def typed(page: Path) -> str:
    """Return the commands of a page that a reader runs on a running service."""
    return "".join(MAKE.sub("", block) for block in blocks(page, "sh"))


TYPED = [page for page in PAGES if page != README and typed(page).strip()]
PYTHON = [page for page in PAGES if blocks(page, "python")]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    """Run one service for all pages."""
    with local_service(tmp_path_factory.mktemp("service") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the working directory of the reader."""
    return tmp_path_factory.mktemp("reader")


def run(command: list[str], service: LocalService, here: Path) -> str:
    """Return the output of a command, which must succeed."""
    done = subprocess.run(
        command,
        cwd=here,
        env=os.environ
        | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "VOXELQ_URL": service.url,
        },
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_make_target_that_is_named_exists() -> None:
    """Every `make` target on a page is in the Makefile."""
    lines = {
        line.partition("#")[0].strip()
        for page in PAGES
        for language in ("sh", "text")
        for block in blocks(page, language)
        for line in block.splitlines()
        if line.startswith("make ")
    }
    assert len(lines) >= 5
    for line in lines:
        subprocess.run([*line.split(), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("page", TYPED, ids=name_of)
def test_the_commands_of_a_page_work_in_their_order(
    page: Path, service: LocalService, here: Path
) -> None:
    """A page's commands succeed when they are run one after the other."""
    script = typed(page).replace(ADDRESS, service.url)
    run(["bash", "-euo", "pipefail", "-c", script], service, here)


def test_the_readme_leaves_masks_pictures_and_results(service: LocalService, here: Path) -> None:
    """The README's commands leave masks in the scan's grid, a picture, and an urgent result."""
    script = typed(README).replace(ADDRESS, service.url)
    printed = run(["bash", "-euo", "pipefail", "-c", script], service, here)
    # the calls print several jobs; the last one is that of the blocking call
    last = [found.start() for found in re.finditer(r'{"id":"\w+","status"', printed)][-1]
    predicted = json.loads(printed[last:])
    assert (predicted["status"], predicted["priority"]) == ("finished", "stat")
    scan = nibabel.Nifti1Image.from_filename(here / "scan.nii.gz")
    for path in (here / "mask.nii.gz", here / "results" / "scan_mask.nii.gz"):
        mask = nibabel.Nifti1Image.from_filename(path)
        assert mask.shape == scan.shape
        np.testing.assert_allclose(mask.affine, scan.affine, atol=1e-4)
    assert (here / "preview.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("page", PYTHON, ids=name_of)
def test_the_python_of_a_page_runs(page: Path, service: LocalService, here: Path) -> None:
    """A page's Python code runs on the scans that the page's commands left."""
    run(["voxelq", "sample", "scan.nii.gz"], service, here)
    for code in blocks(page, "python"):
        run([sys.executable, "-c", code.replace(ADDRESS, service.url)], service, here)
