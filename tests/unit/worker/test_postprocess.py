"""Masks, statistics and pictures of a segmentation."""

import io

import numpy as np
import pytest
from PIL import Image

from shared.bundles.model_card import ModelLabel
from worker.pipeline.preview import preview_png
from worker.volume.postprocess import MaskRules, keep_components, label_statistics, to_scan_grid
from worker.volume.preprocess import Grid, to_network_grid

LABELS = (ModelLabel(value=1, name="whole tumour"), ModelLabel(value=2, name="core"))


def test_small_pieces_are_left_out() -> None:
    """A piece under the card's least volume is dropped, and its larger neighbour stays."""
    probability = np.zeros((20, 20, 20), dtype=np.float32)
    probability[2:10, 2:10, 2:10] = 0.9
    probability[15:17, 15:17, 15:17] = 0.9
    kept = keep_components(probability, MaskRules(0.5, min_component_ml=0.1), spacing_mm=2.0)
    assert np.count_nonzero(kept) == 8**3


def test_a_dropped_piece_does_not_come_back_in_the_scan() -> None:
    """A piece dropped on the grid is dropped in the scan's mask too."""
    grid = Grid((32, 32, 32), 2.0)
    scan = np.random.default_rng(0).random((64, 64, 64), dtype=np.float32)
    frame = to_network_grid(scan, np.eye(4), grid).frame
    probability = np.zeros(grid.shape, dtype=np.float32)
    probability[4:14, 4:14, 4:14] = 1
    probability[24:26, 24:26, 24:26] = 1
    mask = to_scan_grid(probability, frame, MaskRules(0.5, min_component_ml=1.0))
    assert mask[10:26, 10:26, 10:26].any()
    assert not mask[40:, 40:, 40:].any()


def test_statistics_are_in_world_units() -> None:
    """Volume comes from the affine's determinant and the centroid is in world millimetres."""
    affine = np.array([[0, 2.0, 0, 5], [-3.0, 0, 0, 7], [0, 0, 1.5, -9], [0, 0, 0, 1]])
    mask = np.zeros((10, 12, 14), dtype=np.uint8)
    mask[2:5, 6, 7:9] = 1
    (stats,) = label_statistics(mask, affine, LABELS)
    assert (stats.value, stats.name, stats.voxels) == (1, "whole tumour", 6)
    assert stats.volume_ml == pytest.approx(6 * 9 / 1000)
    assert stats.centroid_mm == pytest.approx((2 * 6 + 5, -3 * 3 + 7, 1.5 * 7.5 - 9))
    assert stats.bounding_box == ((2, 6, 7), (4, 6, 8))


def test_each_label_is_measured_apart() -> None:
    """A label that the mask does not show has no entry."""
    mask = np.zeros((5, 5, 5), dtype=np.uint8)
    mask[4, 4, 4] = 2
    assert [stats.value for stats in label_statistics(mask, np.eye(4), LABELS)] == [2]


def test_the_picture_shows_right_on_the_left_and_front_on_top() -> None:
    """Radiological display: a mark at the patient's right front is in the upper left."""
    data = np.zeros((30, 40, 20), dtype=np.int16)
    mask = np.zeros(data.shape, dtype=np.uint8)
    mask[24:28, 33:37, 8:12] = 1
    for flips in np.ndindex(2, 2, 2):
        axes = tuple(axis for axis in range(3) if flips[axis])
        affine = np.diag([-1.0 if flip else 1.0 for flip in flips] + [1.0])
        picture = preview_png(np.flip(data, axes), np.flip(mask, axes), affine)
        pixels = np.asarray(Image.open(io.BytesIO(picture)))
        rows, columns = np.nonzero(pixels[:, :, 0] > 50)
        assert rows.mean() < pixels.shape[0] / 2
        assert columns.mean() < pixels.shape[1] / 2


def test_the_picture_has_the_patient_s_proportions() -> None:
    """Voxels twice as deep as wide make a picture twice as tall as it is wide."""
    data = np.ones((50, 50, 4), dtype=np.float32)
    picture = preview_png(data, np.zeros(data.shape, np.uint8), np.diag([1.0, 2.0, 5.0, 1.0]))
    assert Image.open(io.BytesIO(picture)).size == (256, 512)
