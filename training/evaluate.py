"""How a bundle does on real scans: ``python -m training.evaluate DIR``.

``DIR`` holds one folder a case, with ``flair.nii.gz`` and, where there is a tumour, an expert's
``label.nii.gz`` (whole tumour is above 0). The baseline that has to be beaten is a threshold: one
standard deviation above the brain's mean, opened, largest component.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from worker.predictor import Predictor, load_predictor
from worker.preprocess import background_of

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Row:
    """One case: Dice (None without a tumour), volumes in millilitres, answer and seconds."""

    case: str
    dice: float | None
    baseline_dice: float | None
    truth_ml: float
    network_ml: float
    baseline_ml: float
    present: bool
    probability: float
    preprocess_s: float
    forward_s: float
    postprocess_s: float


def evaluate(predictor: Predictor, folder: Path) -> list[Row]:
    """Run every case under ``folder``."""
    predictor.warm_up()
    return [_row(predictor, path.parent) for path in sorted(folder.glob("*/flair.nii.gz"))]


def threshold_baseline(data: NDArray[np.float32]) -> Mask:
    """Return the largest piece of the opened mask of z > 1 inside the brain."""
    background = background_of(data)
    brain = np.abs(data - background.level) > background.tolerance
    inside = data[brain]
    above = brain & (data > inside.mean() + inside.std())
    pieces, count = ndimage.label(ndimage.binary_opening(above))
    if not count:
        return np.zeros(data.shape, dtype=np.bool_)
    return np.asarray(pieces == np.argmax(np.bincount(pieces.ravel())[1:]) + 1)


def _row(predictor: Predictor, case: Path) -> Row:
    image: Any = nib.load(case / "flair.nii.gz")
    data = np.asarray(image.dataobj, dtype=np.float32)
    affine = np.asarray(image.affine, dtype=np.float64)
    truth = _truth(case / "label.nii.gz", data.shape)
    ticks = [time.perf_counter()]
    prepared = predictor.preprocess([(data, affine)])
    ticks.append(time.perf_counter())
    (prediction,) = predictor.predict([prepared])
    ticks.append(time.perf_counter())
    answer = predictor.postprocess(prepared, prediction)
    ticks.append(time.perf_counter())
    baseline = threshold_baseline(data)
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    found = answer.mask > 0
    return Row(
        case=case.name,
        dice=_dice(found, truth),
        baseline_dice=_dice(baseline, truth),
        truth_ml=float(truth.sum()) * voxel_ml,
        network_ml=float(found.sum()) * voxel_ml,
        baseline_ml=float(baseline.sum()) * voxel_ml,
        present=answer.present,
        probability=answer.probability,
        preprocess_s=ticks[1] - ticks[0],
        forward_s=ticks[2] - ticks[1],
        postprocess_s=ticks[3] - ticks[2],
    )


def _truth(path: Path, shape: tuple[int, ...]) -> Mask:
    if not path.exists():
        return np.zeros(shape, dtype=np.bool_)
    image: Any = nib.load(path)
    return np.asarray(image.dataobj) > 0


def _dice(mask: Mask, truth: Mask) -> float | None:
    if not truth.any():
        return None
    return float(2 * np.count_nonzero(mask & truth) / (mask.sum() + truth.sum()))


def _print(rows: list[Row]) -> None:
    heads = (
        "case",
        "Dice",
        "(base)",
        "truth ml",
        "found ml",
        "(base)",
        "present",
        "ms: pre+net+post",
    )
    print("{:<12}{:>7}{:>8}{:>10}{:>10}{:>9}{:>14}  {}".format(*heads))
    for row in rows:
        dices = ["-" if d is None else f"{d:.3f}" for d in (row.dice, row.baseline_dice)]
        answer = f"{'yes' if row.present else 'no'} ({row.probability:.2f})"
        stages = (row.preprocess_s, row.forward_s, row.postprocess_s)
        times = " + ".join(f"{seconds * 1000:.0f}" for seconds in stages)
        print(
            f"{row.case:<12}{dices[0]:>7}{dices[1]:>8}{row.truth_ml:>10.1f}"
            f"{row.network_ml:>10.1f}{row.baseline_ml:>9.1f}{answer:>14}  {times}"
        )


def main() -> None:
    """Read the command line and evaluate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bundle", type=Path, default=Path("models/brain-tumor/1.0.0"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="auto")
    given = parser.parse_args()
    predictor = load_predictor(given.bundle, precision=given.precision, threads=given.threads)
    _print(evaluate(predictor, given.folder))


if __name__ == "__main__":
    main()
