"""The quality of a bundle on real scans: ``python -m training.evaluate DIR``.

``DIR`` holds one folder a case, with ``flair.nii.gz`` and, where there is a tumour, an expert's
``label.nii.gz`` (whole tumour is above 0). The baseline is a threshold: one standard deviation
above the brain's mean, opened, largest component. Prints a table and writes it as ``table.json``,
beside ``masks.png`` with the outlines of every case.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from shared.bundles.contents import BundleContents
from shared.volumes.geometry import voxel_volume_ml
from training.gallery import Panel, picture_masks
from worker.device.compute_options import ComputeOptions
from worker.models.loader import Predictor, load_predictor
from worker.volume.preprocess import background_of

Mask = NDArray[np.bool_]

#: Smaller pieces of an expert's mask are stray voxels and not lesions.
LEAST_LESION_ML = 0.1


@dataclass(frozen=True)
class Row:
    """One case: Dice (None without a tumour), volumes in millilitres, presence and seconds.

    ``lesions`` counts the expert's pieces, ``hits`` those that the network touches, and ``false``
    the network's pieces that touch none.
    """

    case: str
    dice: float | None
    baseline_dice: float | None
    truth_ml: float
    network_ml: float
    baseline_ml: float
    lesions: int
    hits: int
    false: int
    present: bool
    probability: float
    preprocess_s: float
    forward_s: float
    postprocess_s: float

    @property
    def right(self) -> bool:
        """Whether the presence is right."""
        return self.present == (self.truth_ml > 0)


def evaluate(predictor: Predictor, folder: Path) -> tuple[list[Row], list[Panel]]:
    """Run every case under ``folder``; return the table's rows and the picture's panels."""
    predictor.warm_up()
    validated = [
        _validate(predictor, path.parent) for path in sorted(folder.glob("*/flair.nii.gz"))
    ]
    return [row for row, _ in validated], [panel for _, panel in validated]


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


def count_lesions(mask: Mask, truth: Mask, voxel_ml: float) -> tuple[int, int, int]:
    """Return how many lesions ``truth`` has, how many ``mask`` touches, and its false pieces."""
    lesions, count = ndimage.label(truth, np.ones((3, 3, 3)))
    sizes = np.bincount(lesions.ravel(), minlength=count + 1)[1:] * voxel_ml
    real = np.flatnonzero(sizes >= LEAST_LESION_ML) + 1
    hits = np.intersect1d(real, np.unique(lesions[mask]))
    pieces, piece_count = ndimage.label(mask, np.ones((3, 3, 3)))
    touching = np.setdiff1d(np.unique(pieces[truth]), [0])
    return len(real), len(hits), piece_count - len(touching)


def _validate(predictor: Predictor, case: Path) -> tuple[Row, Panel]:
    image: Any = nib.load(case / "flair.nii.gz")
    data = np.asarray(image.dataobj, dtype=np.float32)
    affine = np.asarray(image.affine, dtype=np.float64)
    truth = _truth(case / "label.nii.gz", data.shape)
    ticks = [time.perf_counter()]
    prepared = predictor.preprocess([(data, affine)])
    ticks.append(time.perf_counter())
    (prediction,) = predictor.predict([prepared])
    ticks.append(time.perf_counter())
    segmentation = predictor.postprocess(prepared, prediction)
    ticks.append(time.perf_counter())
    baseline = threshold_baseline(data)
    voxel_ml = voxel_volume_ml(affine)
    mask = segmentation.mask > 0
    lesions, hits, false = count_lesions(mask, truth, voxel_ml)
    row = Row(
        case=case.name,
        dice=_dice(mask, truth),
        baseline_dice=_dice(baseline, truth),
        truth_ml=float(truth.sum()) * voxel_ml,
        network_ml=float(mask.sum()) * voxel_ml,
        baseline_ml=float(baseline.sum()) * voxel_ml,
        lesions=lesions,
        hits=hits,
        false=false,
        present=segmentation.present,
        probability=segmentation.probability,
        preprocess_s=ticks[1] - ticks[0],
        forward_s=ticks[2] - ticks[1],
        postprocess_s=ticks[3] - ticks[2],
    )
    return row, Panel(case.name, data, affine, truth, mask)


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
    heads = ("case", "Dice", "(base)", "truth ml", "found ml", "(base)", "lesions hit", "false")
    print(
        "{:<14}{:>6}{:>8}{:>10}{:>10}{:>8}{:>13}{:>7}".format(*heads),
        "  present, probability  right  ms: preprocess + network + postprocess",
    )
    for row in rows:
        dices = ["-" if d is None else f"{d:.3f}" for d in (row.dice, row.baseline_dice)]
        stages = (row.preprocess_s, row.forward_s, row.postprocess_s)
        print(
            f"{row.case:<14}{dices[0]:>6}{dices[1]:>8}{row.truth_ml:>10.1f}"
            f"{row.network_ml:>10.1f}{row.baseline_ml:>8.1f}{f'{row.hits} of {row.lesions}':>13}"
            f"{row.false:>7}   {'yes' if row.present else 'no':<9}{row.probability:>11.2f}"
            f"{'yes' if row.right else 'NO':>8}  "
            + " + ".join(f"{seconds * 1000:.0f}" for seconds in stages)
        )
    pairs = [(r.dice, r.baseline_dice) for r in rows if r.dice is not None]
    if pairs:
        network, baseline = np.array(pairs, dtype=np.float64).mean(axis=0)
        print(f"{'mean':<14}{network:>6.3f}{baseline:>8.3f}")


def main() -> None:
    """Read the command line and evaluate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bundle", type=Path, default=Path("models/brain-tumor/1.0.0"))
    parser.add_argument("--output", type=Path, default=Path(".training/evaluation"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="auto")
    options = parser.parse_args()
    predictor = load_predictor(
        BundleContents.read(options.bundle),
        ComputeOptions(precision=options.precision, threads=options.threads),
    )
    rows, panels = evaluate(predictor, options.folder)
    if not rows:
        parser.error(f"there is no case with a flair.nii.gz under {options.folder}")
    _print(rows)
    options.output.mkdir(parents=True, exist_ok=True)
    table = json.dumps([asdict(row) for row in rows], indent=2)
    (options.output / "table.json").write_text(table + "\n", encoding="utf-8")
    picture_masks(panels, options.output / "masks.png")
    print(f"pictures and table: {options.output}")


if __name__ == "__main__":
    main()
