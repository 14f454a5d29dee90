"""The default bundle on the sample scan, and on real scans if this machine has them."""

import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.loading import load_bundle
from worker.models.loader import Predictor
from worker.volume.postprocess import Segmentation

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "shared" / "data" / "sample_flair.nii.gz"
CASES = Path(os.environ.get("VOXELQ_EVALUATION_DIR", ROOT.parent / "shared/data/evaluation"))


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    """The default bundle on the CPU."""
    bundle = max((ROOT / "models" / "brain-tumor").glob("*/configs")).parent
    return load_bundle(bundle, device="cpu")


def read(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return a scan's voxels and affine."""
    image: Any = nib.load(path)
    return np.asarray(image.dataobj, dtype=np.float32), np.asarray(image.affine, dtype=np.float64)


def segment(predictor: Predictor, path: Path) -> Segmentation:
    """Return the result for one scan."""
    prepared = predictor.preprocess([read(path)])
    return predictor.postprocess(prepared, predictor.predict([prepared])[0])


def test_the_sample_s_lesion_is_found(predictor: Predictor) -> None:
    """The network finds the sample's one lesion in the right frontal lobe, at about its size."""
    answer = segment(predictor, SAMPLE)
    assert answer.present
    (stats,) = answer.labels
    assert 25 < stats.volume_ml < 70  # it was drawn with 43
    assert np.allclose(stats.centroid_mm, (32, 22, 24), atol=12)


@pytest.mark.parametrize("case", ["glioma_1", "glioma_3", "glioma_5"])
def test_a_real_glioma_is_found(predictor: Predictor, case: str) -> None:
    """On a real FLAIR of a glioma the outline agrees with the expert's, as the card says."""
    if not (CASES / case).exists():
        pytest.skip("the evaluation scans are not here")
    answer = segment(predictor, CASES / case / "flair.nii.gz")
    truth = read(CASES / case / "label.nii.gz")[0] > 0
    assert answer.present
    dice = 2 * np.count_nonzero((answer.mask > 0) & truth) / (answer.mask.sum() + truth.sum())
    assert dice > 0.8


def test_multiple_sclerosis_is_no_tumour(predictor: Predictor) -> None:
    """A real FLAIR with plaques of multiple sclerosis has no tumour and an empty mask."""
    if not (CASES / "ms_7").exists():
        pytest.skip("the evaluation scans are not here")
    answer = segment(predictor, CASES / "ms_7" / "flair.nii.gz")
    assert not answer.present
    assert not answer.mask.any()
