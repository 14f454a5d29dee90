"""Nonsense without anatomy: noise, patterns, phantoms, files that hold something else."""

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from benchmarks.nonsense.volumes import (
    Kind,
    Rng,
    Scan,
    points_mm,
    radius,
    rician,
    scan,
    smooth_noise,
)

_SHAPE = (180, 216, 180)


def _empty(rng: Rng) -> Scan:
    return scan(np.zeros(_SHAPE, dtype=np.int16))


def _constant(rng: Rng) -> Scan:
    return scan(np.full(_SHAPE, rng.integers(1, 4000), dtype=np.int16))


def _white_noise(rng: Rng) -> Scan:
    return scan(rng.normal(0, 1, _SHAPE).astype(np.float32))


def _uniform_integers(rng: Rng) -> Scan:
    return scan(rng.integers(0, 4096, _SHAPE).astype(np.int16))


def _air_of_a_scanner(rng: Rng) -> Scan:
    return scan(rician(rng, np.zeros(_SHAPE, dtype=np.float32), 20).astype(np.int16))


def _salt_and_pepper(rng: Rng) -> Scan:
    return scan(rng.choice([0, 500, 1000], _SHAPE, p=[0.05, 0.9, 0.05]).astype(np.int16))


def _smooth_noise(rng: Rng) -> Scan:
    return scan(smooth_noise(rng, _SHAPE, rng.uniform(4, 12)))


def _pink_noise(rng: Rng) -> Scan:
    """Random phases with amplitudes that fall with the frequency, as those of pictures do."""
    axes = np.meshgrid(*map(np.fft.fftfreq, _SHAPE), indexing="ij", sparse=True)
    frequency = np.sqrt(sum(axis**2 for axis in axes))
    spectrum = np.fft.fftn(rng.standard_normal(_SHAPE)) / (frequency + 0.01) ** 1.5
    return scan(np.abs(np.fft.ifftn(spectrum)).astype(np.float32))


def _hot_pixels(rng: Rng) -> Scan:
    return scan((rng.random(_SHAPE) < 0.002).astype(np.int16) * rng.integers(100, 4000))


def _noise_in_a_head(rng: Rng) -> Scan:
    inside = radius(points_mm(_SHAPE, 1), (70, 88, 72)) < 1
    return scan(np.where(inside, rng.normal(100, 30, _SHAPE), 0).astype(np.float32))


def _gradient(rng: Rng) -> Scan:
    return scan((points_mm(_SHAPE, 1)[rng.integers(3)] * 10 + 1000).astype(np.int16))


def _radial_gradient(rng: Rng) -> Scan:
    return scan((1000 - 5 * radius(points_mm(_SHAPE, 1), (1, 1, 1))).astype(np.float32))


def _checkerboard(rng: Rng) -> Scan:
    cells = np.indices(_SHAPE) // rng.integers(8, 32)
    return scan((cells.sum(axis=0) % 2 * 1000).astype(np.int16))


def _waves(rng: Rng) -> Scan:
    phase = points_mm(_SHAPE, 1) * (2 * np.pi / rng.uniform(15, 50))
    return scan((500 + 400 * np.sin(phase).prod(axis=0)).astype(np.int16))


def _ball(rng: Rng) -> Scan:
    inside = radius(points_mm(_SHAPE, 1), (rng.uniform(50, 85),) * 3) < 1
    return scan(inside.astype(np.int16) * 1000)


def _small_ball(rng: Rng) -> Scan:
    inside = radius(points_mm(_SHAPE, 1.5), (rng.uniform(10, 30),) * 3) < 1
    return scan(rician(rng, np.where(inside, 1000.0, 0.0), 20), 1.5)


def _bottle(rng: Rng) -> Scan:
    """A cylinder of water, as scanners are tested with."""
    points = points_mm((128, 128, 60), (2, 2, 4))
    inside = (np.hypot(points[0], points[1]) < rng.uniform(60, 95)) & (np.abs(points[2]) < 90)
    return scan(rician(rng, np.where(inside, 800.0, 0.0), 15).astype(np.int16), (2, 2, 4))


def _quality_phantom(rng: Rng) -> Scan:
    """A cylinder with bars, rods and a wedge in it, as the ACR's."""
    points = points_mm((256, 256, 30), (1, 1, 5))
    inside = (np.hypot(points[0], points[1]) < 95) & (np.abs(points[2]) < 74)
    image = np.where(inside, 900.0, 0.0)
    for _ in range(24):
        x, y = rng.uniform(-60, 60, 2)
        rod = np.hypot(points[0] - x, points[1] - y) < rng.uniform(2, 8)
        image[rod & (np.abs(points[2] - rng.uniform(-60, 60)) < 15)] = rng.uniform(0, 300)
    image[(np.abs(points[1]) < 6) & (np.abs(points[0]) < 80) & (points[2] > 40)] = 100
    return scan(rician(rng, image, 12).astype(np.int16), (1, 1, 5))


def _box(rng: Rng) -> Scan:
    points = np.abs(points_mm(_SHAPE, 1))
    inside = (points < np.array([70, 85, 65]).reshape(3, 1, 1, 1)).all(axis=0)
    return scan(rician(rng, np.where(inside, 600.0, 0.0), 12).astype(np.int16))


def _water_head(rng: Rng) -> Scan:
    """A head's outline filled with the same everywhere."""
    inside = radius(points_mm(_SHAPE, 1), (70, 88, 72)) < 1
    bright = 500 * (1 + 0.03 * smooth_noise(rng, _SHAPE, 30))
    return scan(rician(rng, np.where(inside, bright, 0), 15).astype(np.int16))


def _hollow_head(rng: Rng) -> Scan:
    away = radius(points_mm(_SHAPE, 1), (74, 92, 76))
    return scan(rician(rng, np.where((away < 1) & (away > 0.88), 500.0, 0.0), 10).astype(np.int16))


def _balls(rng: Rng) -> Scan:
    points, image = points_mm(_SHAPE, 1), np.zeros(_SHAPE, dtype=np.float32)
    for _ in range(30):
        centre = rng.uniform(-80, 80, 3)
        ball = radius(points, (rng.uniform(5, 18),) * 3, tuple(centre)) < 1
        image[ball] = rng.uniform(200, 1000)
    return scan(rician(rng, image, 10).astype(np.int16))


def _parcellation(rng: Rng) -> Scan:
    """A hundred regions of a head, each a number."""
    points = points_mm((90, 108, 90), 2)
    seeds = rng.uniform(-80, 80, (100, 3))
    nearest = KDTree(seeds).query(points.reshape(3, -1).T)[1].reshape(points.shape[1:]) + 1
    return scan((nearest * (radius(points, (70, 88, 72)) < 1)).astype(np.int16), 2)


def _cells(rng: Rng) -> Scan:
    """A microscope's stack of bright cells, whose voxels are taken for millimetres."""
    spots = (rng.random((256, 256, 64)) < 0.0008).astype(np.float32)
    blurred = ndimage.gaussian_filter(spots, 4)
    return scan(rng.poisson(blurred / blurred.max() * 60 + 2).astype(np.uint8))


def _ultrasound(rng: Rng) -> Scan:
    """Speckle in a sector."""
    points = points_mm((160, 160, 120), 1)
    depth = points[1] + 80
    inside = (np.abs(np.arctan2(points[0], depth)) < 0.6) & (depth < 150)
    inside &= np.abs(np.arctan2(points[2], depth)) < 0.5
    tissue = np.exp(0.5 * smooth_noise(rng, depth.shape, 8))
    speckle = rng.rayleigh(40, depth.shape) * tissue
    return scan(np.clip(np.where(inside, speckle, 0), 0, 255).astype(np.uint8))


def _photograph(rng: Rng) -> Scan:
    """Frames of a film: brightness everywhere, edges, no air."""
    image = np.zeros((200, 160, 100), dtype=np.float32)
    for _ in range(60):
        low = (rng.random(3) * image.shape).astype(int)
        high = low + rng.integers(10, 90, 3)
        image[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] += rng.uniform(-60, 60)
    image = 120 + image + 5 * smooth_noise(rng, image.shape, 1)
    return scan(np.clip(image, 0, 255).astype(np.uint8))


SHAPES: dict[str, Kind] = {
    "empty": _empty,
    "constant": _constant,
    "white noise": _white_noise,
    "uniform integers": _uniform_integers,
    "air of a scanner": _air_of_a_scanner,
    "salt and pepper": _salt_and_pepper,
    "smooth noise": _smooth_noise,
    "pink noise": _pink_noise,
    "hot pixels": _hot_pixels,
    "noise in a head's outline": _noise_in_a_head,
    "gradient": _gradient,
    "radial gradient": _radial_gradient,
    "checkerboard": _checkerboard,
    "waves": _waves,
    "ball": _ball,
    "small ball": _small_ball,
    "bottle of water": _bottle,
    "quality phantom": _quality_phantom,
    "box": _box,
    "head of water": _water_head,
    "hollow head": _hollow_head,
    "balls": _balls,
    "parcellation": _parcellation,
    "cells in a microscope": _cells,
    "ultrasound": _ultrasound,
    "film": _photograph,
}
