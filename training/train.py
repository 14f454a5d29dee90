"""Make the default weights: ``python -m training.train --minutes 30``.

Fetches the anatomy, fills a pool of synthetic samples beside the training, trains for a budget
of wall-clock minutes, calibrates the answer and writes the bundle. A run that was stopped goes
on from its last checkpoint when it is called again with the same folder.
"""

import argparse
import copy
import csv
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from torch import Tensor

from training.calibrate import DEFAULT_BUNDLE, calibrate
from training.loss import loss_of, soft_dice
from training.pool import SamplePool, filling
from worker.network import UNet3D

LEARNING_RATE = 1.5e-3
WEIGHT_DECAY = 1e-4
WARM_UP_STEPS = 50
AVERAGING = 0.99
VALIDATION_SLOTS = 24
CHECKPOINT_EVERY_S = 180.0
LOG_COLUMNS = ("step", "minutes", "loss", "outline", "dice", "presence", "learning_rate")


@dataclass
class Run:
    """A training run's state, all of which is in its checkpoint."""

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
        network = UNet3D()
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
        )
        return cls(network, copy.deepcopy(network), optimiser)

    def save(self, path: Path) -> None:
        """Write the checkpoint, whole or not at all."""
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
        """Take up the checkpoint at ``path``."""
        state: dict[str, Any] = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.elapsed_s = state["progress"]
        self.log = state["log"]


def train(folder: Path, *, minutes: float, batch: int, pool_size: int, seed: int) -> Path:
    """Train in ``folder`` and return the path of the averaged weights."""
    run = Run.start(seed)
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        run.resume(checkpoint)
    with filling(folder / "pool", folder / "anatomy", pool_size, seed, processes=1) as pool:
        while len(pool.filled()) < 2 * VALIDATION_SLOTS + batch:
            time.sleep(1)
        _loop(run, pool, checkpoint, minutes * 60, batch, seed)
    run.save(checkpoint)
    _write_log(run, folder)
    weights = folder / "weights.pt"
    torch.save(run.averaged.state_dict(), weights)
    return weights


def _loop(
    run: Run, pool: SamplePool, checkpoint: Path, budget_s: float, batch: int, seed: int
) -> None:
    rng = np.random.default_rng([seed, run.step])
    last_save = time.monotonic()
    while run.elapsed_s < budget_s:
        began = time.monotonic()
        rate = _learning_rate(run.step, run.elapsed_s / budget_s)
        _step(run, pool, rng, rate, batch)
        if time.monotonic() - last_save > CHECKPOINT_EVERY_S:
            last_save = time.monotonic()
            run.save(checkpoint)
            _write_log(run, checkpoint.parent)
            print(_progress(run, pool), flush=True)
        run.elapsed_s += time.monotonic() - began


def _step(run: Run, pool: SamplePool, rng: np.random.Generator, rate: float, batch: int) -> None:
    images, masks = draw_batch(pool, rng, batch)
    for group in run.optimiser.param_groups:
        group["lr"] = rate
    with torch.autocast("cpu", torch.bfloat16):
        outline, presence = run.network(images)
    loss = loss_of(outline, presence, masks)
    run.optimiser.zero_grad(set_to_none=True)
    loss.total.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(run.network.parameters(), 1.0)
    run.optimiser.step()
    run.step += 1
    _average(run)
    parts = (loss.total, loss.outline, loss.dice, loss.presence)
    run.log.append([run.step, run.elapsed_s / 60, *(float(part.detach()) for part in parts), rate])


def draw_batch(pool: SamplePool, rng: np.random.Generator, size: int) -> tuple[Tensor, Tensor]:
    """Return ``size`` random training samples, half of them with a tumour, cheaply varied."""
    filled = pool.filled()
    slots = rng.choice(filled[filled >= VALIDATION_SLOTS], size)
    images, masks = [], []
    for slot in slots:
        sample = pool.read(int(slot))
        image, mask = torch.from_numpy(sample.image), torch.from_numpy(sample.mask).float()
        if rng.random() < 0.5:
            image, mask = image.flip(0), mask.flip(0)
        shift = tuple(int(n) for n in rng.integers(-3, 4, 3))
        image, mask = (torch.roll(volume, shift, (0, 1, 2)) for volume in (image, mask))
        image = image * float(rng.uniform(0.85, 1.15)) + float(rng.uniform(-0.2, 0.2))
        images.append(image[None])
        masks.append(mask[None])
    return torch.stack(images), torch.stack(masks)


def _average(run: Run) -> None:
    keep = min(AVERAGING, run.step / (run.step + 10))
    with torch.no_grad():
        pairs = zip(run.averaged.parameters(), run.network.parameters(), strict=True)
        for slow, fast in pairs:
            slow.lerp_(fast, 1 - keep)


def _learning_rate(step: int, done: float) -> float:
    warm = min(1.0, (step + 1) / WARM_UP_STEPS)
    return float(LEARNING_RATE * warm * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * min(done, 1)))))


def _progress(run: Run, pool: SamplePool) -> str:
    recent = np.mean(run.log[-50:], axis=0)
    dice, told = validate(run.averaged, pool)
    return (
        f"step {run.step} minute {run.elapsed_s / 60:.1f} loss {recent[2]:.3f} "
        f"dice loss {recent[4]:.3f} validation dice {dice:.3f} presence right {told:.2f} "
        f"pool {len(pool.filled())}"
    )


def validate(network: UNet3D, pool: SamplePool) -> tuple[float, float]:
    """Return the mean Dice of held-out tumours, and the share of right presence answers."""
    dices, right = [], []
    for slot in range(VALIDATION_SLOTS):
        sample = pool.read(slot)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            outline, presence = network(torch.from_numpy(sample.image)[None, None])
        has_tumour = bool(sample.mask.any())
        right.append((float(presence) > 0) == has_tumour)
        if has_tumour:
            found = (outline.float() > 0).float()
            dices.append(float(soft_dice(found, torch.from_numpy(sample.mask)[None, None].float())))
    return float(np.mean(dices)), float(np.mean(right))


def _write_log(run: Run, folder: Path) -> None:
    with (folder / "log.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(LOG_COLUMNS)
        writer.writerows(run.log)
    mpl.use("Agg")
    from matplotlib import pyplot

    columns = np.array(run.log)
    kernel = np.ones(min(25, len(columns))) / min(25, len(columns))
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for index in (3, 4, 5):
        axes.plot(np.convolve(columns[:, index], kernel, "valid"), label=LOG_COLUMNS[index])
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.legend()
    figure.savefig(folder / "loss.png", dpi=110)
    pyplot.close(figure)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(".training"))
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--pool", type=int, default=1600, help="samples, 2.2 MB each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--scans", type=int, default=60, help="synthetic validation scans")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    weights = train(
        given.folder,
        minutes=given.minutes,
        batch=given.batch,
        pool_size=given.pool,
        seed=given.seed,
    )
    report = calibrate(weights, given.folder / "anatomy", given.bundle, given.scans)
    print(json.dumps(asdict(report), indent=2))


if __name__ == "__main__":
    main()
