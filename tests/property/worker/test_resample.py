"""Resampling of a volume on another grid, compared with scipy."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from worker.volume import resample
from worker.volume.resample import Affine, Volume, sample_affine

#: Order and direction in which the result's axes run along the volume's axes.
turns = st.builds(
    lambda order, signs: np.eye(3)[list(order)] * np.array(signs),
    st.sampled_from(list(permutations(range(3)))),
    st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
)
steps = st.tuples(*[st.floats(0.3, 3.0)] * 3)
starts = st.tuples(*[st.floats(-3.0, 12.0)] * 3)
shapes = st.tuples(*[st.integers(1, 9)] * 3)
factors = st.tuples(*[st.integers(1, 3)] * 3)
seeds = st.integers(0, 1000)


def affine(linear: NDArray[np.float64], start: tuple[float, ...]) -> Affine:
    """Return a 4x4 matrix."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, start
    return matrix


def matrices(*oblique: float) -> st.SearchStrategy[Affine]:
    """Return matrices whose steps also go this far along every other axis."""
    return st.builds(
        lambda turn, step, start, off: affine(turn * step + off, start),
        *(turns, steps, starts, st.sampled_from(oblique)),
    )


def noise(seed: int, shape: tuple[int, ...]) -> Volume:
    """Return a volume of random values."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def expected(volume: Volume, shape: tuple[int, ...], matrix: Affine) -> Volume:
    """Return what scipy computes, in double precision."""
    drawn = ndimage.affine_transform(
        volume.astype(np.float64),
        matrix[:3, :3],
        matrix[:3, 3],
        output_shape=shape,
        order=1,
        mode="grid-constant",
    )
    return np.asarray(drawn, dtype=np.float32)


@given(matrices(0.0, 0.05), shapes, shapes, seeds)
def test_every_voxel_is_interpolated_linearly(
    matrix: Affine, size: tuple[int, ...], shape: tuple[int, ...], seed: int
) -> None:
    """For parallel axes in any order and direction, and for oblique ones, it is scipy's result."""
    volume = noise(seed, size)
    drawn = sample_affine(volume, shape, matrix)
    assert drawn.shape == shape
    assert drawn == pytest.approx(expected(volume, shape, matrix), abs=1e-4)


@given(matrices(0.0, 0.05), shapes, shapes, factors, seeds)
def test_averages_keep_the_place_of_their_voxels(
    matrix: Affine,
    size: tuple[int, ...],
    shape: tuple[int, ...],
    factor: tuple[int, ...],
    seed: int,
) -> None:
    """Averaging first equals resampling of the averages, on their own grid."""
    averages = volume = noise(seed, size)
    for axis, count in enumerate(factor):
        first = range(0, volume.shape[axis], count)
        sums = np.add.reduceat(averages, first, axis=axis)
        voxels = np.diff([*first, volume.shape[axis]])
        averages = np.asarray(sums / np.expand_dims(voxels, [n for n in range(3) if n != axis]))
    to_averages = affine(np.diag(1 / np.array(factor)), tuple((1 / n - 1) / 2 for n in factor))
    drawn = sample_affine(volume, shape, matrix, factor)
    assert drawn == pytest.approx(expected(averages, shape, to_averages @ matrix), abs=1e-4)


@given(matrices(1e-5), shapes, seeds)
def test_hardly_oblique_is_parallel(matrix: Affine, shape: tuple[int, ...], seed: int) -> None:
    """An angle from a header's rounding moves no voxel by more than a thousandth."""
    volume = noise(seed, (6, 7, 8))
    drawn = sample_affine(volume, shape, matrix)
    assert drawn == pytest.approx(expected(volume, shape, matrix), abs=0.02)


def test_parallel_axes_are_resampled_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions of single voxels are computed for oblique scans only."""
    asked = []
    real = resample._sample_points

    def points(source: Tensor, shape: tuple[int, ...], matrix: Affine) -> Tensor:
        asked.append(shape)
        return real(source, shape, matrix)

    monkeypatch.setattr(resample, "_sample_points", points)
    volume, matrix = noise(0, (6, 7, 8)), affine(np.diag([-1.2, 0.8, 1.0]), (5.0, 0.3, -1.0))
    sample_affine(volume, (5, 6, 7), matrix)
    assert asked == []
    sample_affine(volume, (5, 6, 7), matrix + 0.01)
    assert asked == [(5, 6, 7)]
