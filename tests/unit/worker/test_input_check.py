"""Scans that the default model was not made for are warned of, and heads are not."""

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.nonsense.heads import variants
from benchmarks.nonsense.kinds import KINDS
from benchmarks.nonsense.volumes import Scan, read
from shared.results import ScanWarning
from shared.sample import SAMPLE_SCAN
from worker.models.brain_tumor.input_check import CODE, check_input
from worker.volume.preprocess import Grid, to_network_grid

GRID = Grid((96, 112, 96), 2.0)
ROOT = Path(__file__).parents[3]
CASES = Path(os.environ.get("VOXELQ_EVALUATION_DIR", ROOT.parent / "shared/data/evaluation"))


def warnings_of(scan: Scan, grid: Grid = GRID) -> tuple[ScanWarning, ...]:
    """What the default model's check says of a scan."""
    prepared = to_network_grid(scan.data, scan.affine, grid)
    return check_input(scan.data, scan.affine, prepared.volume[0], grid.spacing_mm)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("one slice", "it has only 1 slice."),
        ("crop of a hippocampus", "it covers only 36 mm along one axis"),
        ("three heads", "it covers 594 mm along one axis"),
        ("constant", "hardly anything in it stands out"),
        ("radial gradient", "there is no air around"),
        ("inverted head", "is darker than the background"),
        ("tissue labels", "it has only 4 different values, as a label map has"),
        ("parcellation", "it consists of areas of one value each"),
        ("repeated slice", "its slices repeat one another"),
        ("angiogram", "too much of it has the same brightness"),
        ("probability map", "its values are those of a mask or of a probability map"),
        ("swapped bytes", "its values fill the whole range of 16 bits"),
        ("CT of a head", "its values are those of a CT"),
        ("bottle of water", "is of the same brightness everywhere"),
        ("balls", "is smaller than a brain, or in many pieces"),
        ("abdomen", "a head is smaller"),
        ("film", "does not have the outline of its right side"),
        ("noise in a head's outline", "it shows noise only"),
        ("shuffled slices", "its slices do not continue one another"),
    ],
)
def test_each_rule_says_why(kind: str, reason: str) -> None:
    """A scan that is surely something else gets one warning, with a reason that people can read."""
    (warning,) = warnings_of(KINDS[kind](np.random.default_rng(0)))
    assert warning.code == CODE == "not-flair-like"
    assert reason in warning.detail
    assert warning.detail.startswith("This does not look like a FLAIR brain scan: ")


def test_the_sample_is_not_warned_of() -> None:
    """The sample passes in any orientation, voxel size, unit and tilt that a clinic may use."""
    warned = {
        name: found
        for name, scan in variants(np.random.default_rng(0), read(SAMPLE_SCAN)).items()
        if (found := warnings_of(scan))
    }
    assert warned == {}


@pytest.mark.parametrize("case", ["glioma_1", "glioma_3", "glioma_5", "ms_7"])
def test_real_scans_are_not_warned_of(case: str) -> None:
    """A real FLAIR, skull-stripped and z-scored, passes."""
    if not (CASES / case).exists():
        pytest.skip("the evaluation scans are not here")
    assert warnings_of(read(CASES / case / "flair.nii.gz")) == ()


def test_the_sample_passes_on_the_grid_of_another_model() -> None:
    """What is measured in millimetres does not depend on the network's voxels."""
    scan = read(SAMPLE_SCAN)
    for grid in (Grid((48, 48, 48), 4.0), Grid((80, 96, 80), 2.7), Grid((192, 224, 192), 1.0)):
        assert warnings_of(scan, grid) == ()


@pytest.mark.parametrize(
    "data",
    [
        np.ones((1, 1, 1), dtype=np.uint8),
        np.arange(1600, dtype=np.int16).reshape(1, 40, 40),
        np.zeros((16, 16, 16), dtype=np.float64),
        np.arange(64**3, dtype=np.float32).reshape(64, 64, 64) * np.float32(1e31),
        np.arange(64**3, dtype=np.int64).reshape(64, 64, 64) * 10**12,
        np.arange(64**3, dtype=np.float32).reshape(64, 64, 64) * np.float32(1e-40),
    ],
)
def test_extreme_scans_are_warned_of_and_never_refused(data: NDArray[np.generic]) -> None:
    """Whatever the voxels hold, the check ends with a warning and no error."""
    (warning,) = warnings_of(Scan(data, np.diag([3.0, 3.0, 3.0, 1.0])))
    assert warning.code == CODE
