"""From trained weights to a bundle: ``python -m training.calibrate --folder .training``.

Threshold, smallest component and the presence model are chosen on synthetic scans that training
never drew, and on nothing else. A picture shows the worst of these scans.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shared.bundles.files import STATE_DICT
from shared.volumes.geometry import cubic_voxel_ml
from training.data.anatomy import Anatomy, fetch, load_all
from training.data.synthesis import GRID, Sample, synthesise
from training.report import picture_samples, segment_sample
from worker.models.brain_tumor.network import DEFAULT_CHANNELS, UNet3D
from worker.models.brain_tumor.recipe import PresenceRecipe
from worker.volume.postprocess import MaskRules, keep_components

DEFAULT_BUNDLE = Path("models/brain-tumor/1.0.0")
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
SMALLEST_ML = (0.3, 1.0, 2.0, 3.0)
#: A threshold of one half, and the smallest tumour that is drawn: the rules unless others are
#: clearly better.
PLAIN_RULES = (THRESHOLDS.index(0.5), SMALLEST_ML.index(1.0))
#: Different from every seed of the training pool.
VALIDATION_SEED = 20_261_121
PICTURED_FAILURES = 18

#: What the network outlines. Only the first is in the result; the second improves the training.
CHANNELS = ("whole tumour", "brain")

METADATA: dict[str, Any] = {
    "name": "brain-tumor",
    "version": "1.0.0",
    "description": "Outlines a whole brain tumour, oedema included, on one FLAIR volume, and says "
    "whether there is one.",
    "inputs": [{"name": "scan", "modality": "FLAIR"}],
    "labels": [{"value": 1, "name": "whole tumour"}],
    "license": "Apache-2.0",
    "intended_use": "Research use only, not a medical device.",
    "network": {
        "in_channels": 1,
        "out_channels": len(CHANNELS),
        "channels": list(DEFAULT_CHANNELS),
    },
    "grid": {"shape": list(GRID.shape), "spacing_mm": GRID.spacing_mm},
}

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """The network's result for one validation scan, under every pair of rules."""

    number: int
    truth_ml: float
    presence_logit: float
    dice: Values
    volume_ml: Values


@dataclass(frozen=True)
class Report:
    """The quality of the calibrated network on the validation scans."""

    scans: int
    with_tumour: int
    mean_dice: float
    median_dice: float
    presence_right: float
    sensitivity: float
    specificity: float


def calibrate(weights: Path, anatomy: Path, bundle: Path, scans: int) -> Report:
    """Choose the rules, write the bundle and return its quality."""
    network = UNet3D(out_channels=len(CHANNELS))
    network.load_state_dict(torch.load(weights, weights_only=True))
    anatomies = load_all(fetch(anatomy))
    cases = _segment_all(network.eval(), anatomies, scans)
    row, column = _best_rules(cases)
    rules = MaskRules(THRESHOLDS[row], SMALLEST_ML[column])
    worst = sorted(cases, key=lambda case: float(case.dice[row, column]))[:PICTURED_FAILURES]
    failures = anatomy.parent / "failures.png"
    _picture_failures(network, anatomies, [case.number for case in worst], rules, failures)
    volumes = np.array([case.volume_ml[row, column] for case in cases])
    logits = np.array([case.presence_logit for case in cases])
    truth = np.array([case.truth_ml > 0 for case in cases])
    presence = fit_presence(logits, volumes, truth)
    metadata = {
        **METADATA,
        "mask": asdict(rules),
        "presence": presence.model_dump(),
    }
    pairs = zip(logits, volumes, strict=True)
    present = np.array([v > 0 and presence.probability(x, v) >= 0.5 for x, v in pairs])
    dice = np.array([case.dice[row, column] for case in cases if case.truth_ml > 0])
    report = Report(
        scans=scans,
        with_tumour=int(truth.sum()),
        mean_dice=round(float(dice.mean()), 3),
        median_dice=round(float(np.median(dice)), 3),
        presence_right=round(float((present == truth).mean()), 3),
        sensitivity=round(float(present[truth].mean()), 3),
        specificity=round(float((~present[~truth]).mean()), 3),
    )
    _write(bundle, {**metadata, "validation": asdict(report)}, network)
    return report


def fit_presence(logits: Values, volumes_ml: Values, truth: NDArray[np.bool_]) -> PresenceRecipe:
    """Fit a lightly penalised logistic model by Newton's method; no weight goes below zero."""
    features = np.stack([np.ones_like(logits), logits, np.log1p(volumes_ml)], axis=1)
    penalty = np.diag([1e-3, 1.0, 1.0])
    used = [0, 1, 2]
    while True:
        chosen = features[:, used]
        weights = np.zeros(len(used))
        for _ in range(50):
            probability = 1 / (1 + np.exp(-chosen @ weights))
            gradient = chosen.T @ (probability - truth) + penalty[np.ix_(used, used)] @ weights
            spread = probability * (1 - probability)
            curvature = chosen.T @ (chosen * spread[:, None]) + penalty[np.ix_(used, used)]
            weights -= np.linalg.solve(curvature, gradient)
        negative = [index for index, weight in zip(used, weights, strict=True) if weight < 0]
        negative = [index for index in negative if index > 0]
        if not negative:
            break
        used.remove(negative[0])
    full = np.zeros(3)
    full[used] = weights
    intercept, logit_weight, volume_weight = (round(float(value), 4) for value in full)
    return PresenceRecipe(
        intercept=intercept, logit_weight=logit_weight, volume_weight=volume_weight
    )


def _segment_all(network: UNet3D, anatomies: list[Anatomy], scans: int) -> list[Case]:
    cases = []
    for number in range(scans):
        sample = _sample(number, anatomies)
        cases.append(_validate(number, *segment_sample(network, sample), sample.mask))
    return cases


def _sample(number: int, anatomies: list[Anatomy]) -> Sample:
    return synthesise(np.random.default_rng([VALIDATION_SEED, number]), anatomies)


def _picture_failures(
    network: UNet3D, anatomies: list[Anatomy], numbers: list[int], rules: MaskRules, path: Path
) -> None:
    samples = [_sample(number, anatomies) for number in numbers]
    masks = [
        keep_components(segment_sample(network, sample)[0], rules, GRID.spacing_mm)
        for sample in samples
    ]
    picture_samples(samples, masks, path)


def _validate(
    number: int, probability: NDArray[np.float32], presence_logit: float, truth: NDArray[np.bool_]
) -> Case:
    size = (len(THRESHOLDS), len(SMALLEST_ML))
    dice, volume_ml = np.zeros(size), np.zeros(size)
    voxel_ml = cubic_voxel_ml(GRID.spacing_mm)
    pairs = product(enumerate(THRESHOLDS), enumerate(SMALLEST_ML))
    for (row, threshold), (column, smallest) in pairs:
        kept = keep_components(probability, MaskRules(threshold, smallest), GRID.spacing_mm)
        shared = np.count_nonzero(kept & truth)
        total = np.count_nonzero(kept) + np.count_nonzero(truth)
        dice[row, column] = 2 * shared / total if total else 1.0
        volume_ml[row, column] = np.count_nonzero(kept) * voxel_ml
    return Case(number, float(truth.sum()) * voxel_ml, presence_logit, dice, volume_ml)


def _best_rules(cases: list[Case]) -> tuple[int, int]:
    """Return the rules with the best mean Dice; without a tumour, an empty mask has Dice 1.

    The plain rules are kept if the best ones are ahead by less than a standard error.
    """
    dice = np.stack([case.dice for case in cases])
    row, column = np.unravel_index(int(np.argmax(dice.mean(axis=0))), dice.shape[1:])
    ahead = dice[:, row, column] - dice[:, *PLAIN_RULES]
    if ahead.mean() <= ahead.std() / np.sqrt(len(cases)):
        return PLAIN_RULES
    return int(row), int(column)


def _write(bundle: Path, metadata: dict[str, Any], network: UNet3D) -> None:
    (bundle / "configs").mkdir(parents=True, exist_ok=True)
    (bundle / STATE_DICT).parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(metadata, indent=2, ensure_ascii=False)
    (bundle / "configs" / "metadata.json").write_text(text + "\n", encoding="utf-8")
    half = {name: tensor.half() for name, tensor in network.state_dict().items()}
    torch.save(half, bundle / STATE_DICT)


def main() -> None:
    """Read the command line and calibrate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(".training"))
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--scans", type=int, default=120)
    options = parser.parse_args()
    folder: Path = options.folder
    report = calibrate(folder / "weights.pt", folder / "anatomy", options.bundle, options.scans)
    print(json.dumps(asdict(report), indent=2))


if __name__ == "__main__":
    main()
