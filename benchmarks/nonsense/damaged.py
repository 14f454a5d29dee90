"""Nonsense made from a head: labels, maps, damage, wrong sizes."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.nonsense.volumes import Affine, Kind, Rng, Scan, Volume, read, rician, scan
from shared.sample import SAMPLE_SCAN


@cache
def sample() -> tuple[Volume, Affine]:
    """Return the sample scan's voxels and affine."""
    scan = read(SAMPLE_SCAN)
    return np.asarray(scan.data, dtype=np.float32), scan.affine


def _tissue(smoothing: float = 1.0) -> tuple[Volume, NDArray[np.bool_]]:
    """Return the sample, smoothed, and where it shows a head."""
    head = ndimage.gaussian_filter(sample()[0], smoothing)
    inside = ndimage.binary_fill_holes(head > 40)
    return head, np.asarray(inside, dtype=np.bool_)


def _kept(data: NDArray[np.generic]) -> Scan:
    return Scan(data, sample()[1])


def _tissue_labels(rng: Rng) -> Scan:
    head, inside = _tissue()
    return _kept((np.digitize(head, [60, 120, 170, 230]) * inside).astype(np.uint8))


def _head_mask(rng: Rng) -> Scan:
    return _kept(_tissue()[1].astype(np.uint8))


def _lesion_mask(rng: Rng) -> Scan:
    return _kept((_tissue()[0] > 235).astype(np.uint8))


def _soft_mask(rng: Rng) -> Scan:
    return _kept(ndimage.gaussian_filter(_tissue()[1].astype(np.float32), 2))


def _distance_map(rng: Rng) -> Scan:
    inside = _tissue()[1]
    return _kept(
        (ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)).astype(
            np.float32
        )
    )


def _probability_map(rng: Rng) -> Scan:
    """White matter's probability: 0 or 1 nearly everywhere."""
    head, _ = _tissue(0.7)
    core = ndimage.binary_erosion(_tissue()[1], iterations=10)
    return _kept((core / (1 + np.exp((head - 172) / 3))).astype(np.float32))


def _relaxation_map(rng: Rng) -> Scan:
    """T1 in milliseconds: fluid four times as high as tissue, and anything at all in air."""
    head, inside = _tissue(0.6)
    t1 = np.interp(head, [0, 50, 100, 160, 200, 400], [4500, 4200, 3500, 850, 1400, 1700])
    return _kept(np.where(inside, t1, rng.uniform(0, 5000, head.shape)).astype(np.float32))


def _inverted(rng: Rng) -> Scan:
    return _kept((sample()[0].max() - sample()[0]).astype(np.int16))


def _saturated(rng: Rng) -> Scan:
    return _kept(np.minimum(sample()[0], rng.uniform(60, 90)).astype(np.int16))


def _shuffled_slices(rng: Rng) -> Scan:
    return _kept(rng.permutation(sample()[0], axis=2).astype(np.int16))


def _repeated_slice(rng: Rng) -> Scan:
    middle = sample()[0][:, :, 60:61]
    return _kept(np.repeat(middle, 128, axis=2).astype(np.int16))


def _one_slice(rng: Rng) -> Scan:
    return _kept(sample()[0][:, :, 60:61].astype(np.int16))


def _few_slices(rng: Rng) -> Scan:
    return _kept(sample()[0][:, :, 58 : 58 + rng.integers(2, 8)].astype(np.int16))


def _shuffled_voxels(rng: Rng) -> Scan:
    return _kept(rng.permutation(sample()[0].ravel()).reshape(sample()[0].shape))


def _phase(rng: Rng) -> Scan:
    head, inside = _tissue()
    smooth = ndimage.gaussian_filter(head, 6) * rng.uniform(0.1, 0.3)
    wrapped = np.angle(np.exp(1j * smooth))
    return _kept(np.where(inside, wrapped, rng.uniform(-np.pi, np.pi, head.shape)))


def _k_space(rng: Rng) -> Scan:
    return _kept(np.log1p(np.abs(np.fft.fftshift(np.fft.fftn(sample()[0])))).astype(np.float32))


def _edges(rng: Rng) -> Scan:
    return _kept(ndimage.gaussian_gradient_magnitude(sample()[0], 1.0))


def _tiny(rng: Rng) -> Scan:
    return scan(sample()[0].astype(np.int16), 0.1)


def _huge(rng: Rng) -> Scan:
    return scan(sample()[0].astype(np.int16), rng.uniform(4, 10))


def _micrometres(rng: Rng) -> Scan:
    return scan(sample()[0].astype(np.int16), 1500)


def _half(rng: Rng) -> Scan:
    return scan(sample()[0][: sample()[0].shape[0] // 2].astype(np.int16), 1.5)


def _hippocampus(rng: Rng) -> Scan:
    """A crop round one hippocampus, as public sets have them."""
    return scan(sample()[0][40:64, 70:104, 40:64].astype(np.int16), 1.5)


def _crop(rng: Rng) -> Scan:
    """A block from the middle of the brain, with no air round it."""
    return scan(sample()[0][30:100, 40:120, 50:100].astype(np.int16), 1.5)


def _squashed(rng: Rng) -> Scan:
    """Slices of 6 mm whose header says 1.5."""
    return scan(sample()[0][:, :, ::4].astype(np.int16), 1.5)


def _mosaic(rng: Rng) -> Scan:
    """Slices side by side, as one picture, as some scanners store series."""
    tiles = [
        np.concatenate(list(np.moveaxis(sample()[0][::2, ::2, z : z + 48 : 8], 2, 0)), axis=0)
        for z in range(20, 68, 8)
    ]
    picture = np.concatenate(tiles, axis=1)
    return scan(np.repeat(picture[:, :, None], 12, axis=2).astype(np.int16), (1, 1, 5))


def _side_by_side(rng: Rng) -> Scan:
    return scan(np.concatenate([sample()[0][::2, ::2, ::2]] * 3, axis=0).astype(np.int16), 3)


def _difference(rng: Rng) -> Scan:
    """One scan less another."""
    first, second = (rician(rng, sample()[0], 12) for _ in range(2))
    return _kept(first - np.roll(second, 1, axis=0) * 0.98)


def _swapped_bytes(rng: Rng) -> Scan:
    return _kept(sample()[0].astype(np.int16).byteswap())


def _wrong_shape(rng: Rng) -> Scan:
    """The right voxels read with the wrong row length."""
    return scan(sample()[0].ravel()[: 140 * 148 * 125].reshape(140, 148, 125).astype(np.int16), 1.5)


def _vessels(rng: Rng) -> Scan:
    """An angiogram: bright threads in the dark."""
    head, inside = _tissue()
    noise = ndimage.gaussian_filter(rng.standard_normal((2, *head.shape)), (0, 4, 4, 4))
    noise /= noise.std(axis=(1, 2, 3), keepdims=True)
    threads = (np.abs(noise) < 0.12).all(axis=0) & inside
    return _kept(rician(rng, (inside * 25 + threads * 400).astype(np.float32), 10))


def _field_map(rng: Rng) -> Scan:
    """Hertz off resonance: smooth, of both signs, masked."""
    _, inside = _tissue()
    hertz = ndimage.gaussian_filter(rng.standard_normal(inside.shape), 15)
    return _kept(np.where(inside, hertz / hertz.std() * 80, 0).astype(np.float32))


def _activation_map(rng: Rng) -> Scan:
    """A statistic's z-values: smooth noise of both signs inside a brain."""
    core = ndimage.binary_erosion(_tissue()[1], iterations=8)
    values = ndimage.gaussian_filter(rng.standard_normal(core.shape), 2.5)
    return _kept(np.where(core, values / values.std(), 0).astype(np.float32))


DAMAGED: dict[str, Kind] = {
    "tissue labels": _tissue_labels,
    "head mask": _head_mask,
    "lesion mask": _lesion_mask,
    "soft mask": _soft_mask,
    "distance map": _distance_map,
    "probability map": _probability_map,
    "T1 relaxation map": _relaxation_map,
    "inverted head": _inverted,
    "saturated head": _saturated,
    "shuffled slices": _shuffled_slices,
    "repeated slice": _repeated_slice,
    "one slice": _one_slice,
    "few slices": _few_slices,
    "shuffled voxels": _shuffled_voxels,
    "phase image": _phase,
    "k-space": _k_space,
    "edges of a head": _edges,
    "head of 13 mm": _tiny,
    "head of 80 cm": _huge,
    "head in micrometres": _micrometres,
    "half a head": _half,
    "crop of a hippocampus": _hippocampus,
    "crop without air": _crop,
    "head squashed to a quarter": _squashed,
    "mosaic of slices": _mosaic,
    "three heads": _side_by_side,
    "difference of two scans": _difference,
    "swapped bytes": _swapped_bytes,
    "wrong row length": _wrong_shape,
    "angiogram": _vessels,
    "field map": _field_map,
    "activation map": _activation_map,
}
