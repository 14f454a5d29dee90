"""Heads that must not be warned of: synthetic ones, and any scan on other grids and scales.

The synthetic heads are those that the network is trained on, put on a scanner's grid: some voxel
size, orientation, tilt, brightness and noise.
"""

from pathlib import Path

import numpy as np
from nibabel.orientations import (
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from benchmarks.nonsense.volumes import Affine, Rng, Scan, smooth_noise
from training.data.anatomy import Anatomy, fetch, load_all
from training.data.synthesis import GRID, synthesise

#: Voxel sizes of a clinic's FLAIR, in the world's order: three dimensional, or thick slices.
VOXELS_MM = (
    (1.0, 1.0, 1.0),
    (2.0, 2.0, 2.0),
    (0.9, 0.9, 5.0),
    (0.5, 0.5, 4.0),
    (1.2, 1.0, 1.0),
    (5.0, 0.9, 0.9),
    (0.9, 5.0, 0.9),
    (0.45, 0.45, 7.0),
)
ORIENTATIONS = ("RAS", "LPS", "LAS", "PIR", "ASL", "SPL", "IRP")


def anatomies(folder: Path) -> list[Anatomy]:
    """Return the anatomies that heads are drawn from; fetched with pip where they are not here."""
    return load_all(fetch(folder))


def synthetic_head(seed: int, anatomies: list[Anatomy]) -> Scan:
    """Draw a head of the training's kind, on a scanner's grid."""
    rng = np.random.default_rng([20261124, seed])
    image = synthesise(rng, anatomies).image
    grid = np.diag([*[GRID.spacing_mm] * 3, 1.0])
    grid[:3, 3] = -(np.array(GRID.shape) - 1) / 2 * GRID.spacing_mm
    x, y, z = rng.normal(0, 6, 3).tolist()
    tilted = regrid(Scan(image, grid), VOXELS_MM[seed % len(VOXELS_MM)], (x, y, z))
    return rescaled(rng, reoriented(tilted, ORIENTATIONS[seed % len(ORIENTATIONS)]), seed % 4)


def regrid(
    scan: Scan,
    voxel_mm: tuple[float, float, float],
    tilt_degrees: tuple[float, float, float] = (0, 0, 0),
) -> Scan:
    """Return the scan drawn on another grid over the same field of view."""
    size = np.array(scan.data.shape)
    centre = scan.affine[:3, :3] @ ((size - 1) / 2) + scan.affine[:3, 3]
    extent = np.abs(scan.affine[:3, :3] @ np.diag(size)).sum(axis=1)
    steps = np.array(voxel_mm)
    shape = np.maximum(1, np.round(extent / steps)).astype(int)
    affine: Affine = np.eye(4)
    affine[:3, :3] = (
        Rotation.from_euler(
            "xyz", np.array(tilt_degrees, dtype=np.float64), degrees=True
        ).as_matrix()
        * steps
    )
    affine[:3, 3] = centre - affine[:3, :3] @ ((shape - 1) / 2)
    to_scan = np.linalg.inv(scan.affine) @ affine
    # A thick slice is the mean over its thickness, which a blur along it comes near to.
    source_mm = np.linalg.norm(scan.affine[:3, :3], axis=0)
    world_to_index = np.abs(np.linalg.inv(scan.affine[:3, :3])).argmax(axis=1)
    sigma = 0.4 * np.maximum(0, steps[world_to_index] / source_mm - 1)
    blurred = ndimage.gaussian_filter(np.asarray(scan.data, dtype=np.float32), sigma)
    data = ndimage.affine_transform(
        blurred, to_scan[:3, :3], to_scan[:3, 3], tuple(shape), order=1, cval=_air(blurred)
    )
    return Scan(data, affine)


def reoriented(scan: Scan, axes: str) -> Scan:
    """Return the scan with its voxels stored in another order, such as ``PIR``."""
    change = ornt_transform(io_orientation(scan.affine), axcodes2ornt(tuple(axes)))
    affine = scan.affine @ inv_ornt_aff(change, scan.data.shape)
    return Scan(apply_orientation(scan.data, change), affine)


def rescaled(rng: Rng, scan: Scan, way: int) -> Scan:
    """Return the scan in other units: as integers with noise, as bytes, as z-scores."""
    data = np.asarray(scan.data, dtype=np.float32)
    low, high = _air(data), float(np.percentile(data, 99.8))
    unit = np.clip((data - low) / (high - low), 0, 1.5)
    match way:
        case 0:  # a scanner's magnitude image, noise in the air
            sigma = rng.uniform(0.005, 0.03)
            noise = rng.normal(0, sigma, (2, *unit.shape))
            noisy = np.hypot(unit + noise[0], noise[1])
            return Scan((noisy * rng.uniform(200, 3000)).astype(np.int16), scan.affine)
        case 1:  # exported by a viewer
            return Scan((np.clip(unit, 0, 1) * 255).astype(np.uint8), scan.affine)
        case 2:  # z-scored inside, zero outside
            inside = unit > 0.01
            scores = (unit - unit[inside].mean()) / unit[inside].std()
            return Scan(np.where(inside, scores, 0).astype(np.float32), scan.affine)
        case _:
            return Scan(unit * np.float32(rng.uniform(1, 1e5)), scan.affine)


def variants(rng: Rng, scan: Scan) -> dict[str, Scan]:
    """Return the scan itself and what others may make of it."""
    drawn = {"as it is": scan}
    for voxel_mm in VOXELS_MM:
        drawn["x".join(map(str, voxel_mm))] = regrid(scan, voxel_mm)
    for axes in ORIENTATIONS:
        drawn[axes] = reoriented(scan, axes)
    for way, name in enumerate(("magnitude", "bytes", "z-scores", "floats")):
        drawn[name] = rescaled(rng, scan, way)
    tilted = regrid(scan, (1.5, 1.5, 1.5), (12, -10, 15))
    drawn["tilted"] = tilted
    flipped = scan.affine.copy()
    flipped[0] *= -1
    drawn["mirrored"] = Scan(scan.data, flipped)
    drawn["cropped to the head"] = _cropped(scan)
    drawn["padded"] = Scan(np.pad(scan.data, 40, constant_values=_air(scan.data)), scan.affine)
    level, data = _air(scan.data), np.asarray(scan.data, dtype=np.float32)
    above = data - level
    noise = rng.normal(0, 0.1 * float(above.std()), data.shape)
    drawn["noisy"] = Scan((data + noise).astype(np.float32), scan.affine)
    bias = np.exp(0.3 * smooth_noise(rng, data.shape, min(data.shape) / 4))
    drawn["uneven"] = Scan(above * bias.astype(np.float32), scan.affine)
    drawn["clipped at 98 %"] = Scan(np.minimum(data, np.percentile(data, 98)), scan.affine)
    return drawn


def _cropped(scan: Scan) -> Scan:
    """Return the scan without the planes of air around the head."""
    inside = np.abs(np.asarray(scan.data, dtype=np.float32) - _air(scan.data)) > 0
    inside &= ndimage.uniform_filter(inside.astype(np.float32), 9) > 0.5
    (box,) = ndimage.find_objects(inside.astype(np.int8))
    affine = scan.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [part.start for part in box]
    return Scan(scan.data[box], affine)


def _air(data: NDArray[np.generic]) -> float:
    """Return what the scan shows where nothing is: the median of its corners."""
    corners = data[:: data.shape[0] - 1, :: data.shape[1] - 1, :: data.shape[2] - 1]
    return float(np.median(corners.astype(np.float64)))
