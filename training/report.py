"""The report of a training run: its log, the curves of the loss and sample predictions."""

import csv
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from numpy.typing import NDArray

from training.data.synthesis import Sample
from worker.models.brain_tumor.network import UNet3D, tumour_probability

mpl.use("Agg")

from matplotlib import pyplot as plt

LOG_COLUMNS = ("step", "minutes", "loss", "outline", "dice", "presence", "brain", "rate")
_PLOTTED = ("outline", "dice", "presence", "brain")
_SMOOTHED_OVER = 50
_COLUMNS = 6

Mask = NDArray[np.bool_]


def write_log(log: Sequence[Sequence[float]], folder: Path) -> None:
    """Write ``log.csv`` and ``loss.png``; the rows of ``log`` are in the order of `LOG_COLUMNS`."""
    if not log:
        return
    with (folder / "log.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(LOG_COLUMNS)
        writer.writerows(log)
    rows = np.array(log)
    width = min(_SMOOTHED_OVER, len(rows))
    figure, axes = plt.subplots(figsize=(7, 4))
    for name in _PLOTTED:
        values = rows[:, LOG_COLUMNS.index(name)]
        axes.plot(np.convolve(values, np.ones(width) / width, "valid"), label=name)
    axes.set(xlabel="step", ylabel=f"loss, mean of {width} steps", yscale="log")
    axes.legend()
    figure.tight_layout()
    figure.savefig(folder / "loss.png", dpi=110)
    plt.close(figure)


def picture_samples(samples: Sequence[Sample], predicted: Sequence[Mask], path: Path) -> None:
    """Draw the largest tumour slice of each sample: the truth in green, the prediction in red."""
    rows = -(-len(samples) // _COLUMNS)
    figure, axes = plt.subplots(rows, _COLUMNS, figsize=(2 * _COLUMNS, 2.4 * rows), squeeze=False)
    for panel in axes.ravel():
        panel.axis("off")
    for panel, sample, mask in zip(axes.ravel(), samples, predicted, strict=False):
        shown = sample.mask if sample.mask.any() else mask
        areas = shown.sum(axis=(0, 1))
        level = int(areas.argmax()) if areas.any() else shown.shape[2] // 2
        panel.imshow(sample.image[:, :, level].T, cmap="gray", origin="lower", vmin=-2.5, vmax=4)
        for outlined, colour in ((sample.mask, "lime"), (mask, "red")):
            if outlined[:, :, level].any():
                panel.contour(outlined[:, :, level].T, [0.5], colors=colour, linewidths=0.9)
    figure.tight_layout(pad=0.2)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def segment_sample(network: UNet3D, sample: Sample) -> tuple[NDArray[np.float32], float]:
    """Return the network's probabilities for a sample, ``[D, H, W]``, and its presence logit."""
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        outline, presence = network(torch.from_numpy(sample.image)[None, None])
    return np.asarray(tumour_probability(outline)[0].numpy()), float(presence)
