"""Scan to grid and back, over random orientations, voxel sizes and oblique affines."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from shared.bundles.model_card import ModelLabel
from worker.pipeline.preview import preview_png
from worker.volume.postprocess import MaskRules, label_statistics, to_scan_grid
from worker.volume.preprocess import Grid, to_network_grid
from worker.volume.resample import Affine, Volume

GRID = Grid((64, 64, 64), 3.0)
RULES = MaskRules(threshold=0.5, min_component_ml=0.0)
LABELS = (ModelLabel(value=1, name="whole tumour"),)
BALL_MM = 24.0

affines = st.builds(
    lambda order, flips, sizes, angles: _affine(order, flips, sizes, angles),
    st.permutations(range(3)),
    st.tuples(*[st.sampled_from((-1.0, 1.0))] * 3),
    st.tuples(*[st.floats(1.2, 5.0)] * 3),
    st.tuples(*[st.floats(-25, 25)] * 3),
)


def _affine(
    order: list[int],
    flips: tuple[float, ...],
    sizes: tuple[float, ...],
    angles: tuple[float, ...],
) -> Affine:
    """An affine with voxel (0, 0, 0) anywhere, oblique by the angles in degrees."""
    permuted = np.eye(3)[:, order] * flips * sizes
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ permuted
    matrix[:3, 3] = np.array([40.0, -75.0, 12.0])
    return matrix


def _shape_of_cube(affine: Affine, edge_mm: float) -> tuple[int, int, int]:
    voxel_mm = np.linalg.norm(affine[:3, :3], axis=0)
    i, j, k = (int(np.ceil(edge_mm / size)) for size in voxel_mm)
    return i, j, k


def _world(shape: tuple[int, int, int], affine: Affine) -> NDArray[np.float64]:
    indices = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return np.asarray(indices @ affine[:3, :3].T + affine[:3, 3])


def _head(shape: tuple[int, int, int], affine: Affine) -> tuple[Volume, NDArray[np.float64]]:
    """A large soft ball in the middle of the scan, and its centre in the world."""
    world = _world(shape, affine)
    centre = affine[:3, :3] @ ((np.array(shape) - 1) / 2) + affine[:3, 3]
    distance = np.linalg.norm(world - centre, axis=-1)
    return np.asarray(np.clip(65 - distance, 0, 30), dtype=np.float32), centre


def _ball_on_grid(affine_of_grid: Affine, centre: NDArray[np.float64]) -> Volume:
    distance = np.linalg.norm(_world(GRID.shape, affine_of_grid) - centre, axis=-1)
    return np.asarray(1 / (1 + np.exp(distance - BALL_MM)), dtype=np.float32)


@given(affine=affines, offset=st.tuples(*[st.floats(-20, 20)] * 3))
@settings(max_examples=40, deadline=None)
def test_a_ball_lands_in_the_same_place_of_the_world(
    affine: Affine, offset: tuple[float, ...]
) -> None:
    """A tumour found on the grid is at the same millimetres in every scan's own voxels."""
    shape = _shape_of_cube(affine, 140.0)
    head, centre = _head(shape, affine)
    frame = to_network_grid(head, affine, GRID).frame
    target = centre + np.array(offset)
    mask = to_scan_grid(_ball_on_grid(affine @ frame.grid_to_scan, target), frame, RULES)
    truth = np.linalg.norm(_world(shape, affine) - target, axis=-1) < BALL_MM
    assert mask.shape == shape
    dice = 2 * np.count_nonzero(mask.astype(bool) & truth) / (mask.sum() + truth.sum())
    assert dice > 0.93
    (stats,) = label_statistics(mask, affine, LABELS)
    assert np.allclose(stats.centroid_mm, target, atol=1.5)
    assert stats.bounding_box[0] == tuple(np.argwhere(mask).min(axis=0))
    assert stats.bounding_box[1] == tuple(np.argwhere(mask).max(axis=0))


@given(affine=affines, first_fastest=st.booleans())
@settings(max_examples=25, deadline=None)
def test_brightness_arrives_where_it_was(affine: Affine, first_fastest: bool) -> None:
    """A bright ball in a scan of any orientation is bright on the grid at the same millimetres."""
    shape = _shape_of_cube(affine, 140.0)
    head, centre = _head(shape, affine)
    target = centre + np.array([12.0, -18.0, 6.0])
    head[np.linalg.norm(_world(shape, affine) - target, axis=-1) < BALL_MM] += 60
    prepared = to_network_grid(np.asfortranarray(head) if first_fastest else head, affine, GRID)
    bright = prepared.volume[0] > 1.2
    world = _world(GRID.shape, affine @ prepared.frame.grid_to_scan)
    assert np.allclose(world[bright].mean(axis=0), target, atol=3.0)


@given(
    affine=affines,
    shape=st.tuples(*[st.integers(1, 24)] * 3),
    level=st.floats(-1e6, 1e6, width=32),
    noisy=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_any_scan_yields_finite_numbers(
    affine: Affine, shape: tuple[int, int, int], level: float, noisy: bool
) -> None:
    """Tiny, thin, constant and noisy volumes give finite numbers and a mask of their shape."""
    data = np.full(shape, level, dtype=np.float32)
    if noisy:
        data += np.random.default_rng(0).normal(0, 10, shape).astype(np.float32)
    prepared = to_network_grid(data, affine, GRID)
    assert prepared.volume.shape == (1, *GRID.shape)
    assert prepared.volume.dtype == np.float32
    assert np.isfinite(prepared.volume).all()
    everywhere = np.ones(GRID.shape, dtype=np.float32)
    mask = to_scan_grid(everywhere, prepared.frame, RULES)
    assert mask.shape == shape
    assert preview_png(data, mask, affine).startswith(b"\x89PNG")


@given(affine=affines, shape=st.tuples(*[st.integers(2, 40)] * 3))
@settings(max_examples=20, deadline=None)
def test_no_probability_no_mask(affine: Affine, shape: tuple[int, int, int]) -> None:
    """If the network finds nothing, the mask is empty and there are no statistics."""
    frame = to_network_grid(np.ones(shape, dtype=np.int16), affine, GRID).frame
    mask = to_scan_grid(np.zeros(GRID.shape, dtype=np.float32), frame, RULES)
    assert mask.shape == shape
    assert not mask.any()
    assert label_statistics(mask, affine, LABELS) == []
