"""Whether a scan looks like the FLAIR of a head, which is all that the default model can read.

A network answers anything, and its answer to a label map or to a knee means nothing. The rules find
what is surely something else, and never block it. Their bounds leave room around every head they
were measured on, so a scan that passes may still be no FLAIR: they do not tell one sequence of a
head from another.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from shared.results import ScanWarning
from worker.models.brain_tumor.input_measurements import (
    Brightness,
    Measurements,
    Shape,
    measure,
)
from worker.volume.resample import Affine, Volume

CODE = "not-flair-like"

#: Returns why a scan is no FLAIR of a head, as the end of a sentence; None if it may be one.
Rule = Callable[[Measurements], str | None]


def check_input(
    data: NDArray[np.generic], affine: Affine, prepared: Volume, spacing_mm: float
) -> tuple[ScanWarning, ...]:
    """Return a warning if the scan does not look like the FLAIR of a head, else nothing.

    Args:
        data: The scan, ``[I, J, K]``, all finite.
        affine: 4x4, from its voxels to RAS+ millimetres.
        prepared: The scan on the network's grid: normalised, and along the world's axes.
        spacing_mm: That grid's voxel edge.
    """
    reason = reason_of(measure(data, affine, prepared, spacing_mm))
    if reason is None:
        return ()
    return (
        ScanWarning(
            code=CODE,
            detail=f"This does not look like a FLAIR brain scan: {reason}. "
            "The model was not made for it, so its answer may mean nothing.",
        ),
    )


def reason_of(measured: Measurements) -> str | None:
    """Return the first rule's reason, None if all rules pass."""
    return next((reason for rule in _RULES if (reason := rule(measured))), None)


def _extent(measured: Measurements) -> str | None:
    if measured.slices < 10:
        return f"it has only {_number(measured.slices, 'slice')}"
    shortest, longest = min(measured.extent_mm), max(measured.extent_mm)
    if shortest < 80:
        return f"it covers only {shortest:.3g} mm along one axis, and a brain needs more"
    if longest > 450:
        return f"it covers {longest:.0f} mm along one axis, and a head is smaller"
    return None


def _brightness(measured: Measurements) -> str | None:
    brightness = measured.brightness
    if brightness is None or brightness.share < 0.03:
        return "hardly anything in it stands out from the background"
    return _background(brightness) or _values(brightness) or _contrast(brightness)


def _background(brightness: Brightness) -> str | None:
    if brightness.share > 0.95:
        return "there is no air around what it shows"
    if brightness.darker > 0.9:
        return "what it shows is darker than the background"
    return None


def _values(brightness: Brightness) -> str | None:
    if brightness.distinct < 24:
        return f"it has only {_number(brightness.distinct, 'different value')}, as a label map has"
    if min(brightness.repeated, default=0) > 0.6 and brightness.distinct < 1000:
        return "it consists of areas of one value each, as a label map does"
    if max(brightness.repeated, default=0) > 0.97:
        return "its slices repeat one another"
    if _in_hounsfield_units(brightness):
        return "its values are those of a CT"
    from_0_to_1 = brightness.lowest >= 0 and 0.9 < brightness.highest <= 1
    if from_0_to_1 and brightness.at_highest > 0.12:
        return "its values are those of a mask or of a probability map"
    if brightness.at_highest > 0.3 or brightness.commonest > 0.7:
        return "too much of it has the same brightness, as in a mask or a clipped image"
    if brightness.lowest < -30_000 and brightness.highest > 30_000:
        return "its values fill the whole range of 16 bits, as with swapped bytes"
    return None


def _in_hounsfield_units(brightness: Brightness) -> bool:
    """Tell CT by its air and by its soft tissue."""
    _, p25, p50, p75, _ = brightness.percentiles
    return -3100 < brightness.background < -800 and abs(p50) < 200 and p75 - p25 < 400


def _contrast(brightness: Brightness) -> str | None:
    p10, _, p50, _, p90 = brightness.percentiles
    if p90 - p10 < 0.25 * abs(p50 - brightness.background):
        return "what it shows is of the same brightness everywhere, and no brain is"
    return None


def _object(measured: Measurements) -> str | None:
    shortest, middle, longest = measured.box_mm
    shape = measured.shape
    if shape is None or shape.volume_ml < 600 or middle < 90 or shortest < 60:
        return "what it shows is smaller than a brain, or in many pieces"
    if measured.width_mm > 260 or middle > 280 or longest > 400:
        return f"what it shows is {longest:.0f} mm long, and a head is smaller"
    return _outline(shape) or _neighbours(shape)


def _outline(shape: Shape) -> str | None:
    if shape.largest < 0.7:
        return "what it shows is in several pieces"
    if shape.filled < 0.75:
        return "what it shows is hollow"
    if shape.ellipsoid < 0.6:
        return "what it shows does not have the outline of a head"
    if shape.symmetry < 0.75:
        return "its left side does not have the outline of its right side"
    return None


def _neighbours(shape: Shape) -> str | None:
    likeness = shape.likeness
    if not likeness:
        return None
    if max(likeness) < 0.2:
        return "it shows noise only"
    if max(likeness) > 0.5 and min(likeness) < 0.3 * max(likeness):
        return "its slices do not continue one another"
    return None


def _number(count: int, name: str) -> str:
    return f"{count} {name}" if count == 1 else f"{count} {name}s"


_RULES: tuple[Rule, ...] = (_extent, _brightness, _object)
