"""Make the default weights: ``python -m training.train --minutes 120``.

Fetches the anatomy, fills a pool of synthetic samples during the training, trains for a number of
wall-clock minutes, calibrates the result and writes the bundle. A run that was stopped continues
from its last checkpoint if it is started again with the same folder. That folder also gets the log,
the curves of the loss and a picture of sample predictions.
"""

import argparse
import copy
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.calibrate import CHANNELS, DEFAULT_BUNDLE, calibrate
from training.data.pool import SamplePool, filling
from training.data.synthesis import GRID
from training.loss import soft_dice
from training.parallel import Replicas
from training.report import picture_samples, segment_sample, write_log
from worker.models.brain_tumor.network import UNet3D

WEIGHT_DECAY = 1e-4
WARM_UP_STEPS = 50
AVERAGING = 0.995
VALIDATION_SLOTS = 40
CHECKPOINT_EVERY_S = 300.0
PICTURED = 24
#: The crop of a sample in the first steps: it has nearly all of a stripped brain at half the cost.
CROP = (72, 88, 72)


@dataclass(frozen=True)
class Schedule:
    """How the steps change over time; ``done`` is the share of the time that is over."""

    #: The highest rate, from which it falls along half a cosine.
    learning_rate: float = 1.5e-3
    #: After this share of the time a step uses whole samples, as the service does. Instance
    #: normalisation depends on the share of background, and a network that was trained on crops
    #: only mistakes the scalp for a tumour.
    cropped_share: float = 0.6

    def crop(self, done: float) -> tuple[int, int, int]:
        """Return the voxels of a sample that a step uses."""
        return CROP if done < self.cropped_share else GRID.shape

    def rate(self, step: int, done: float) -> float:
        """Return the learning rate of a step."""
        warm = min(1.0, (step + 1) / WARM_UP_STEPS)
        fall = 0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * min(done, 1)))
        return float(self.learning_rate * warm * fall)


@dataclass
class Run:
    """The state of a training run, which is saved in its checkpoint."""

    network: UNet3D
    averaged: UNet3D
    optimiser: torch.optim.Optimizer
    step: int = 0
    elapsed_s: float = 0.0
    log: list[list[float]] = field(default_factory=list)

    @classmethod
    def start(cls, seed: int) -> "Run":
        """Return a run at step 0."""
        torch.manual_seed(seed)
        network = UNet3D(out_channels=len(CHANNELS))
        optimiser = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY)
        return cls(network, copy.deepcopy(network), optimiser)

    def save(self, path: Path) -> None:
        """Write the checkpoint; the file is replaced as a whole."""
        state = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "progress": (self.step, self.elapsed_s),
            "log": self.log,
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(path)

    def resume(self, path: Path) -> None:
        """Load the checkpoint at ``path``."""
        state: dict[str, Any] = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.elapsed_s = state["progress"]
        self.log = state["log"]


def train(
    folder: Path,
    *,
    minutes: float,
    schedule: Schedule,
    batch: int,
    pool_size: int,
    seed: int,
    start: Path | None,
) -> Path:
    """Train in ``folder`` and return the path of the averaged weights.

    ``start`` is a file of weights to begin with: those of the right shape are copied.
    """
    run = Run.start(seed)
    if start is not None:
        _copy_weights(run, start)
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        run.resume(checkpoint)
    with filling(folder / "pool", folder / "anatomy", pool_size, seed, processes=1) as pool:
        while len(pool.filled()) < 2 * VALIDATION_SLOTS + batch:
            time.sleep(1)
        _loop(run, pool, checkpoint, minutes * 60, schedule, batch, seed)
    run.save(checkpoint)
    write_log(run.log, folder)
    weights = folder / "weights.pt"
    torch.save(run.averaged.state_dict(), weights)
    return weights


def _loop(
    run: Run,
    pool: SamplePool,
    checkpoint: Path,
    budget_s: float,
    schedule: Schedule,
    batch: int,
    seed: int,
) -> None:
    rng = np.random.default_rng([seed, run.step])
    replicas = Replicas(run.network, batch)
    last_save = time.monotonic()
    while run.elapsed_s < budget_s:
        began = time.monotonic()
        done = run.elapsed_s / budget_s
        images, masks = draw_batch(pool, rng, batch, schedule.crop(done))
        _step(run, replicas, images, masks, schedule.rate(run.step, done))
        if time.monotonic() - last_save > CHECKPOINT_EVERY_S:
            last_save = time.monotonic()
            run.save(checkpoint)
            write_log(run.log, checkpoint.parent)
            samples = [pool.read(slot) for slot in range(PICTURED)]
            predicted = [segment_sample(run.averaged, sample)[0] > 0.5 for sample in samples]
            picture_samples(samples, predicted, checkpoint.parent / "samples.png")
            print(_progress(run, pool), flush=True)
        run.elapsed_s += time.monotonic() - began


def _step(run: Run, replicas: Replicas, images: Tensor, masks: Tensor, rate: float) -> None:
    for group in run.optimiser.param_groups:
        group["lr"] = rate
    run.optimiser.zero_grad(set_to_none=True)
    losses = replicas.backward(images, masks)
    torch.nn.utils.clip_grad_norm_(run.network.parameters(), 1.0)
    run.optimiser.step()
    run.step += 1
    _average(run)
    parts = [
        float(np.mean([getattr(loss, name).item() for loss in losses]))
        for name in ("total", "outline", "dice", "presence", "brain")
    ]
    run.log.append([run.step, run.elapsed_s / 60, *parts, rate])


def draw_batch(
    pool: SamplePool, rng: np.random.Generator, size: int, crop: tuple[int, int, int]
) -> tuple[Tensor, Tensor]:
    """Return crops of ``size`` random samples, with cheap augmentation, and their masks.

    Images are ``[size, 1, *crop]``; masks, of tumour and brain, ``[size, 2, *crop]``.
    """
    filled = pool.filled()
    slots = rng.choice(filled[filled >= VALIDATION_SLOTS], size)
    images, masks = [], []
    for slot in slots:
        sample = pool.read(int(slot))
        corner = [
            int(rng.integers(n - c + 1)) for n, c in zip(sample.image.shape, crop, strict=True)
        ]
        box = tuple(slice(a, a + c) for a, c in zip(corner, crop, strict=True))
        image = torch.from_numpy(sample.image[box])
        mask = torch.from_numpy(np.stack([sample.mask[box], sample.brain[box]])).float()
        if rng.random() < 0.5:
            image, mask = image.flip(0), mask.flip(1)
        image = image * float(rng.uniform(0.85, 1.15)) + float(rng.uniform(-0.2, 0.2))
        images.append(image[None])
        masks.append(mask)
    return torch.stack(images), torch.stack(masks)


def _average(run: Run) -> None:
    keep = min(AVERAGING, run.step / (run.step + 10))
    with torch.no_grad():
        pairs = zip(run.averaged.parameters(), run.network.parameters(), strict=True)
        for slow, fast in pairs:
            slow.lerp_(fast, 1 - keep)


def _progress(run: Run, pool: SamplePool) -> str:
    recent = np.mean(run.log[-50:], axis=0)
    dice, presence_right = validate(run.averaged, pool)
    return (
        f"step {run.step} minute {run.elapsed_s / 60:.1f} loss {recent[2]:.3f} "
        f"dice loss {recent[4]:.3f} validation dice {dice:.3f} presence right {presence_right:.2f} "
        f"pool {len(pool.filled())}"
    )


def validate(network: UNet3D, pool: SamplePool) -> tuple[float, float]:
    """Return the mean Dice of held-out tumours, and the share of right presences."""
    dices, right = [], []
    for slot in range(VALIDATION_SLOTS):
        sample = pool.read(slot)
        probability, presence = segment_sample(network, sample)
        has_tumour = bool(sample.mask.any())
        right.append((presence > 0) == has_tumour)
        if has_tumour:
            predicted, truth = (
                torch.from_numpy(mask)[None, None].float()
                for mask in (probability > 0.5, sample.mask)
            )
            dices.append(float(soft_dice(predicted, truth)))
    return float(np.mean(dices)), float(np.mean(right))


def _copy_weights(run: Run, weights: Path) -> None:
    tensors = torch.load(weights, weights_only=True)
    for network in (run.network, run.averaged):
        own = network.state_dict()
        for name, tensor in tensors.items():
            if own[name].shape[1:] == tensor.shape[1:]:
                own[name][: len(tensor)] = tensor  # there may be more output channels now


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(".training"))
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--learning-rate", type=float, default=Schedule.learning_rate)
    parser.add_argument("--cropped-share", type=float, default=Schedule.cropped_share)
    parser.add_argument("--batch", type=int, default=2, help="samples a step, a thread for each")
    parser.add_argument("--pool", type=int, default=4000, help="samples, 2.3 MB each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--start", type=Path, help="weights to begin with, if their shapes fit")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--scans", type=int, default=120, help="synthetic validation scans")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    weights = train(
        options.folder,
        minutes=options.minutes,
        schedule=Schedule(options.learning_rate, options.cropped_share),
        batch=options.batch,
        pool_size=options.pool,
        seed=options.seed,
        start=options.start,
    )
    report = calibrate(weights, options.folder / "anatomy", options.bundle, options.scans)
    print(json.dumps(asdict(report), indent=2))


if __name__ == "__main__":
    main()
