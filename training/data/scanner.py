"""The effects of scanners and of software on an image: artefacts, skull-stripping, clipping."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from training.data.noise import field, octaves, smooth
from worker.volume.preprocess import background_of, normalise

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]


def scan(
    rng: np.random.Generator, image: Volume, brain: Volume, mask: Mask, *, stripped: bool
) -> Volume:
    """Return the scanned, normalised image; clear ``mask`` in place where nothing was scanned."""
    bias = field(rng, image.shape, int(rng.integers(1, 4)))[0]
    image = image * np.exp(bias * rng.uniform(0, 0.25))
    if rng.random() < 0.4:
        blurred = smooth(image, int(rng.choice([1, 1, 2, 3])))
        image = image + rng.uniform(0, 1) * (blurred - image)
    if rng.random() < 0.5:
        image = _thick_slices(rng, image)
    if rng.random() < 0.1:
        image = _ghosts(rng, image)
    noise = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(0, 0.1)
    image = np.abs(image + noise) if rng.random() < 0.5 else np.maximum(image + noise, 0)
    image = image ** rng.uniform(0.8, 1.25)
    if rng.random() < 0.15:
        image = np.minimum(image, np.quantile(image[brain > 0.5], rng.uniform(0.97, 0.999)))
    if stripped:
        image = _strip(rng, image, brain, mask)
    if rng.random() < 0.15:
        _cut_field_of_view(rng, image, mask)
    return normalise(image.astype(np.float32), background_of(image))


def _thick_slices(rng: np.random.Generator, image: Volume) -> Volume:
    axis = int(rng.choice([0, 1, 2], p=[0.15, 0.15, 0.7]))
    size = list(image.shape)
    size[axis] = round(size[axis] / rng.uniform(1.3, 3.5))
    tensor = torch.from_numpy(np.ascontiguousarray(image))[None, None]
    coarse = F.interpolate(tensor, size, mode="area")
    back = F.interpolate(coarse, list(image.shape), mode="trilinear", align_corners=False)
    return np.asarray(back[0, 0].numpy())


def _ghosts(rng: np.random.Generator, image: Volume) -> Volume:
    """Add motion along the phase axis: a faint, shifted copy of the head."""
    axis = int(rng.integers(2))
    shift = int(rng.integers(6, 40)) * int(rng.choice([-1, 1]))
    return np.asarray(image + rng.uniform(0.03, 0.15) * np.roll(image, shift, axis))


def _strip(rng: np.random.Generator, image: Volume, brain: Volume, mask: Mask) -> Volume:
    """Clear what a skull-stripping program removes, and leave bright remnants."""
    edge = 0.5 + rng.uniform(-0.3, 0.3) + field(rng, image.shape, 12)[0] * rng.uniform(0, 0.1)
    kept = brain > edge
    if rng.random() < 0.7:
        # Otherwise the program mistakes a tumour's dark cavity at the surface for air.
        kept |= mask
    if rng.random() < 0.25:
        rim = kept & (brain < np.minimum(edge + rng.uniform(0.1, 0.4), 0.95)) & ~mask
        patches = octaves(rng, image.shape, 1.0) > rng.uniform(0.3, 1.2)
        image = np.where(rim & patches, image + rng.uniform(0.3, 1.5), image)
    return np.where(kept, image + 0.02, 0)


def _cut_field_of_view(rng: np.random.Generator, image: Volume, mask: Mask) -> None:
    """Clear slices at one end, tumour included: what was not scanned cannot be found."""
    count = int(rng.integers(4, 22))
    cut = slice(None, count) if rng.random() < 0.7 else slice(-count, None)
    image[:, :, cut] = 0
    mask[:, :, cut] = False
