"""The default model in service: whole scans on one grid, an outline and a presence."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from shared.bundles.model_card import ModelCard
from worker.device.compute_mode import PLAIN, ComputeMode, candidates
from worker.device.select import (
    PRECISION_NAMES,
    PRECISIONS,
    choose_device,
    choose_precision,
    cores,
    limit_gpu_memory,
    precisions,
    set_threads,
)
from worker.inference.oom import PassSizes
from worker.inference.progress import OnShare
from worker.models.brain_tumor.autotune import choose_way
from worker.models.brain_tumor.network import UNet3D, tumour_probability
from worker.models.brain_tumor.phantom import Mask, sample_head
from worker.models.brain_tumor.recipe import Recipe, load_network, read_recipe
from worker.volume import postprocess, preprocess
from worker.volume.align_channels import Channel
from worker.volume.postprocess import Segmentation
from worker.volume.preprocess import Prepared
from worker.volume.resample import Volume

#: Batches that are run once before the first scan comes. The second has a compiler see that sizes
#: differ, and so compile once for all of them.
_WARM_SIZES = (1, 2)


@dataclass(frozen=True)
class Prediction:
    """The network's answer for one scan: probabilities ``[D, H, W]``, presence as a logit."""

    probability: Volume
    presence_logit: float


class TumorPredictor:
    """A `worker.models.loader.Predictor` that outlines a tumour and says whether there is one."""

    def __init__(
        self,
        card: ModelCard,
        recipe: Recipe,
        network: UNet3D,
        device: torch.device,
        ways: Sequence[ComputeMode],
        start: ComputeMode,
    ) -> None:
        self.card = card
        self.device = str(device)
        self.pass_sizes = PassSizes()
        self._recipe = recipe
        self._network = network.to(device)
        self._device = device
        self._ways = ways
        self.arithmetic = PLAIN
        self._forward: Callable[[Tensor], tuple[Tensor, Tensor]] = self._network
        self._use(start)

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
        compile_network: bool = False,
    ) -> Self:
        """Read a bundle and put its network on a device.

        Args:
            bundle: The folder with ``configs/metadata.json`` and ``models/model.pt``.
            device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
            precision: ``fp32``, ``bf16``, ``fp16``, or ``auto`` for what `warm_up` finds best.
            threads: Threads of a forward pass on a CPU; 0 leaves torch's choice.
            memory_growth: Whether GPU memory is taken piece by piece.
            memory_fraction: The largest share of the GPU's memory.
            compile_network: Whether `warm_up` tries ``torch.compile`` as well.

        Raises:
            ModelError: The bundle cannot be read or run, or the device is not there.
        """
        card, recipe = ModelCard.read(bundle), read_recipe(bundle)
        place = choose_device(device)
        limit_gpu_memory(place, growth=memory_growth, fraction=memory_fraction)
        set_threads(threads)
        network = load_network(bundle, recipe.network)
        ways = candidates(precisions(precision, place), compiled=compile_network)
        start = ComputeMode(PRECISION_NAMES[choose_precision(precision, place)])
        return cls(card, recipe, network, place, ways, start)

    def warm_up(self) -> None:
        """Find the fastest arithmetic that gives the same mask, and be ready for any batch.

        Raises:
            RuntimeError: The network cannot be run in the precision that was asked for.
        """
        grid = self._recipe.network_grid
        affine = np.diag([*[grid.spacing_mm] * 3, 1.0])
        sample = preprocess.to_network_grid(sample_head(grid.shape), affine, grid)
        every = cores()
        # Under load each lane has one core, and a scan that comes alone has them all.
        shares = [1, every] if self.device == "cpu" and every > 1 else [every]

        def outline(way: ComputeMode, threads: int) -> Mask:
            self._use(way)
            set_threads(threads)
            (prediction,) = self.predict([sample])
            return prediction.probability > self._recipe.mask.threshold

        try:
            if self.device != "cpu":
                outline(self.arithmetic, every)  # a GPU's first pass of all loads its libraries
            self._use(choose_way(self._ways, shares, outline))
            for threads in shares if self.arithmetic.compiled else [every]:
                set_threads(threads)
                for size in _WARM_SIZES:
                    self.predict([sample] * size)
        finally:
            set_threads(every)

    def preprocess(self, channels: Sequence[Channel]) -> Prepared:
        """Bring a scan of one channel to the network's grid."""
        ((data, affine),) = channels
        return preprocess.to_network_grid(data, affine, self._recipe.network_grid)

    def pass_kind(self, prepared: Prepared) -> Hashable:
        """Return what is the same for all: every scan is on the network's one grid."""
        return None

    def predict(
        self, batch: Sequence[Prepared], on_shares: Sequence[OnShare] = ()
    ) -> list[Prediction]:
        """Run one forward pass over the batch and return its answers in the same order."""
        images = torch.from_numpy(np.stack([prepared.volume for prepared in batch]))
        precision = PRECISIONS[self.arithmetic.precision]
        with (
            torch.inference_mode(),
            torch.autocast(self._device.type, precision, enabled=precision != torch.float32),
        ):
            outline, presence = self._forward(images.to(self._device))
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
        return postprocess.empty_segmentation(mask, probability)

    def _use(self, way: ComputeMode) -> None:
        """Compute in this way from now on; not while a pass runs."""
        if way == self.arithmetic:
            return
        self.arithmetic = way
        plain = way.memory_format == "contiguous"
        order = torch.contiguous_format if plain else torch.channels_last_3d
        # The weights' order decides that of everything that is computed from them.
        self._network.to(memory_format=order)  # type: ignore[call-overload]
        self._forward = torch.compile(self._network) if way.compiled else self._network
