"""The default model in service: whole scans on one grid, an outline and a presence."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch

from shared.models import ModelCard
from worker import postprocess, preprocess
from worker.arithmetic import Arithmetic
from worker.bundle import Recipe, load_network, read_recipe
from worker.channels import Channel
from worker.device import (
    PRECISION_NAMES,
    choose_device,
    choose_precision,
    limit_gpu_memory,
    set_threads,
)
from worker.network import UNet3D, tumour_probability
from worker.out_of_memory import PassSizes
from worker.postprocess import Segmentation
from worker.preprocess import Prepared, Volume


@dataclass(frozen=True)
class Prediction:
    """The network's answer for one scan: probabilities ``[D, H, W]``, presence as a logit."""

    probability: Volume
    presence_logit: float


class TumorPredictor:
    """A `worker.predictor.Predictor` that outlines a tumour and says whether there is one."""

    def __init__(
        self,
        card: ModelCard,
        recipe: Recipe,
        network: UNet3D,
        device: torch.device,
        precision: torch.dtype,
    ) -> None:
        self.card = card
        self.device = str(device)
        self.pass_sizes = PassSizes()
        self.arithmetic = Arithmetic(PRECISION_NAMES[precision])
        self._recipe = recipe
        self._network = network.to(device)
        self._device = device
        self._precision = precision

    @classmethod
    def load(
        cls,
        bundle: Path,
        *,
        device: str = "auto",
        precision: str = "auto",
        threads: int = 0,
        memory_growth: bool = True,
        memory_fraction: float = 1.0,
    ) -> Self:
        """Read a bundle and put its network on a device.

        Args:
            bundle: The folder with ``configs/metadata.json`` and ``models/model.pt``.
            device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
            precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
            threads: Threads of a forward pass on a CPU; 0 leaves torch's choice.
            memory_growth: Whether GPU memory is taken piece by piece.
            memory_fraction: The largest share of the GPU's memory.

        Raises:
            ModelError: The bundle cannot be read or run, or the device is not there.
        """
        card, recipe = ModelCard.read(bundle), read_recipe(bundle)
        place = choose_device(device)
        limit_gpu_memory(place, growth=memory_growth, fraction=memory_fraction)
        set_threads(threads)
        network = load_network(bundle, recipe.network)
        return cls(card, recipe, network, place, choose_precision(precision, place))

    def warm_up(self) -> None:
        """Run batches of one and of two, so that the first scan costs what later ones do."""
        grid = self._recipe.network_grid
        blank = preprocess.to_network_grid(np.zeros(grid.shape, np.float32), np.eye(4), grid)
        for size in (1, 2):
            self.predict([blank] * size)

    def preprocess(self, channels: Sequence[Channel]) -> Prepared:
        """Bring a scan of one channel to the network's grid."""
        ((data, affine),) = channels
        return preprocess.to_network_grid(data, affine, self._recipe.network_grid)

    def pass_kind(self, prepared: Prepared) -> Hashable:
        """Return what is the same for all: every scan is on the network's one grid."""
        return None

    def predict(self, batch: Sequence[Prepared]) -> list[Prediction]:
        """Run one forward pass over the batch and return its answers in the same order."""
        images = torch.from_numpy(np.stack([prepared.volume for prepared in batch]))
        reduced = self._precision != torch.float32
        with (
            torch.inference_mode(),
            torch.autocast(self._device.type, self._precision, enabled=reduced),
        ):
            outline, presence = self._network(images.to(self._device))
        probabilities = tumour_probability(outline).cpu().numpy()
        logits = presence.float().cpu().tolist()
        predictions = [
            Prediction(probability, logit)
            for probability, logit in zip(probabilities, logits, strict=True)
        ]
        if len(predictions) != len(batch):
            raise RuntimeError(
                f"The network answered {len(predictions)} times to {len(batch)} scans; "
                "its forward pass must keep the first axis."
            )
        return predictions

    def postprocess(self, prepared: Prepared, prediction: Prediction) -> Segmentation:
        """Return mask, presence and statistics in the scan's own grid, in agreement.

        A tumour is present when its probability reaches one half and the mask shows it; else
        the mask is empty and the probability stays below one half.
        """
        frame = prepared.frame
        mask = postprocess.to_scan_grid(prediction.probability, frame, self._recipe.mask_rules)
        labels = postprocess.label_statistics(mask, frame.affine, self.card.labels)
        volume_ml = sum(label.volume_ml for label in labels)
        probability = self._recipe.presence.probability(prediction.presence_logit, volume_ml)
        if labels and probability >= 0.5:
            return Segmentation(mask, True, probability, labels)
        return Segmentation(np.zeros_like(mask), False, min(probability, 0.499), [])
