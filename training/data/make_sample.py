"""Write the sample scan: ``python -m training.data.make_sample``.

Real anatomy (the ICBM 152 whole-head average), warped and with the brightness of FLAIR, with one
synthetic lesion, on a slightly oblique grid as scanners have it.
"""

import argparse
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from training.data import lesions
from training.data.anatomy import TISSUES, fetch, load_all
from training.data.noise import field
from training.data.synthesis import sample_maps, tissue_of

SHAPE = (132, 156, 128)
VOXEL_MM = 1.5
TILT_DEGREES = (8.0, -2.0, 3.0)
FOCUS_MM = (32.0, 22.0, 24.0)
LESION_ML = 42.0
SEED = 7
FLAIR = {
    "white": 1.0,
    "grey": 1.22,
    "fluid": 0.35,
    "ventricle": 0.18,
    "bone": 0.08,
    "soft": 0.7,
    "fat": 1.15,
}

Volume = NDArray[np.float32]


def make(anatomy_folder: Path, seed: int = SEED) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Return the scan, ``[I, J, K]`` int16, and its affine."""
    anatomy = load_all(fetch(anatomy_folder))[0]
    rng = np.random.default_rng(seed)
    affine = _affine()
    indices = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij")).astype(np.float32)
    world = np.tensordot(affine[:3, :3], indices, axes=1) + affine[:3, 3].reshape(3, 1, 1, 1)
    warp = 2.5 * field(rng, SHAPE, 5, channels=3)
    atlas = world + np.array(anatomy.head_centre).reshape(3, 1, 1, 1) + warp
    atlas = np.asarray(atlas, dtype=np.float32)
    maps = dict(zip(TISSUES, sample_maps(anatomy, atlas), strict=True))
    tissue = tissue_of(maps, atlas, anatomy, _points_mm())
    image = np.asarray(sum(level * maps[name] for name, level in FLAIR.items()), dtype=np.float32)
    image -= 0.03 * maps["texture"]
    # The focus is given on the scan's axes, whose first two point to the left and the back.
    focus = lesions.Focus(np.array(FOCUS_MM, dtype=np.float32) * (-1, -1, 1), LESION_ML)
    _, front = lesions.grow(rng, focus, tissue)
    image = lesions.paint(rng, image, focus, tissue, front)
    image *= np.exp(0.06 * field(rng, SHAPE, 2)[0])
    image = np.abs(image + 0.02 * rng.standard_normal(SHAPE, dtype=np.float32))
    return (image * 160).astype(np.int16), affine


def _affine() -> NDArray[np.float64]:
    """Voxel axes to the left, back and head, tilted; the head's centre is the world's origin."""
    affine = np.eye(4)
    tilt = Rotation.from_euler("xyz", TILT_DEGREES, degrees=True).as_matrix()
    affine[:3, :3] = tilt @ np.diag([-VOXEL_MM, -VOXEL_MM, VOXEL_MM])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    return affine


def _points_mm() -> Volume:
    axes = [(np.arange(n, dtype=np.float32) - (n - 1) / 2) * VOXEL_MM for n in SHAPE]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def main() -> None:
    """Read the command line and write the sample."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--anatomy", type=Path, default=Path(".training/anatomy"))
    parser.add_argument("--output", type=Path, default=Path("shared/data/sample_flair.nii.gz"))
    options = parser.parse_args()
    data, affine = make(options.anatomy)
    image = nib.Nifti1Image(data, affine)
    image.header["descrip"] = "synthetic lesion in real anatomy"
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, options.output)


if __name__ == "__main__":
    main()
