"""How bright each tissue is: mostly as in FLAIR, sometimes as in another sequence.

The model is for FLAIR. Other sequences are drawn so that it finds no tumour in a healthy T1 or T2
volume that was submitted by mistake, instead of outlining its brightest part.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.noise import field, octaves

Volume = NDArray[np.float32]

SEQUENCES = ("flair", "t1", "t2", "any")
SHARES = (0.80, 0.10, 0.05, 0.05)


@dataclass(frozen=True)
class Contrast:
    """The name of a sequence and the brightness of each tissue, relative to white matter."""

    sequence: str
    levels: Mapping[str, float]

    @property
    def shows_tumours(self) -> bool:
        """Whether a tumour is brighter than its surroundings, which on T1 it is not."""
        return self.sequence != "t1"


def draw_contrast(rng: np.random.Generator) -> Contrast:
    """Draw a sequence and its brightness of the tissues."""
    sequence = str(rng.choice(SEQUENCES, p=SHARES))
    grey, fluid = _grey_and_fluid(rng, sequence)
    levels = {
        "white": 1.0,
        "grey": grey,
        "fluid": float(np.clip(fluid + rng.uniform(-0.1, 0.4), 0, None)),
        "ventricle": fluid,
        "bone": rng.uniform(0.0, 0.35),
        "soft": rng.uniform(0.3, 1.2),
        "fat": rng.uniform(0.3, 2.5),
    }
    return Contrast(sequence, levels)


def mix(rng: np.random.Generator, contrast: Contrast, maps: Mapping[str, Volume]) -> Volume:
    """Return the image of the tissue ``maps``, with variation within each tissue."""
    image = sum(level * maps[name] for name, level in contrast.levels.items())
    strong = contrast.sequence == "t1" and rng.random() < 0.5
    amplitude = rng.uniform(0.02, 0.12) if strong else rng.uniform(-0.08, 0.08)
    image = image + amplitude * maps["texture"]
    shape = maps["white"].shape
    uneven = field(rng, shape, int(rng.integers(10, 30)))[0] * rng.uniform(0, 0.08)
    outside = maps["bone"] + maps["soft"] + maps["fat"]
    if outside.any():
        # Muscles, eyes, marrow and mucosa vary strongly.
        uneven = uneven + outside * octaves(rng, shape, rng.uniform(0, 0.5))
        glow = np.clip(octaves(rng, shape, 1.5) - rng.uniform(0.5, 1.5), 0, 1)
        image = image + rng.uniform(0, 1.5) * glow * outside
    return np.asarray(np.maximum(image * (1 + uneven), 0), dtype=np.float32)


def _grey_and_fluid(rng: np.random.Generator, sequence: str) -> tuple[float, float]:
    match sequence:
        case "flair":
            return rng.uniform(0.95, 1.45), rng.uniform(0.02, 0.5)
        case "t1":
            return rng.uniform(0.55, 0.92), rng.uniform(0.02, 0.5)
        case "t2":
            return rng.uniform(1.05, 1.7), rng.uniform(1.5, 3.0)
        case _:
            return rng.uniform(0.5, 1.7), rng.uniform(0.0, 2.0)
