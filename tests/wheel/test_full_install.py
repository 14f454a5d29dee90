"""The whole service, installed from the wheel in a clean virtual environment."""

from pathlib import Path

import nibabel
import pytest

from tests.support.wheel import INSTALL_S, build_wheel, install


@pytest.mark.timeout(2 * INSTALL_S)
def test_the_demo_runs_from_the_wheel(tmp_path: Path) -> None:
    """With the extra `all` the demo finds the model, and leaves mask and picture."""
    here = tmp_path / "here"
    here.mkdir()
    installed = install(tmp_path / "all", build_wheel(tmp_path), "all")
    code, words = installed.run("voxelq", "demo", here=here)
    assert code == 0, words
    assert "finished" in words
    assert sorted(path.name for path in (here / "demo").iterdir()) == [
        "sample_flair.json",
        "sample_flair.nii.gz",
        "sample_flair_mask.nii.gz",
        "sample_flair_preview.png",
    ]
    mask = nibabel.Nifti1Image.from_filename(here / "demo" / "sample_flair_mask.nii.gz")
    assert mask.get_fdata().any()
