"""Runs VoxelQ's own network: whole scans on one grid, an outline and a presence."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import structlog
import torch
from torch import Tensor

from shared.bundles.contents import BundleContents
from shared.bundles.model_card import ModelCard
from shared.telemetry import log_unexpected_error
from worker.device.compute_mode import PLAIN, ComputeMode, candidates
from worker.device.compute_options import ComputeOptions
from worker.device.select import (
    PRECISION_NAMES,
    PRECISIONS,
    choose_precision,
    cores,
    precisions,
    set_threads,
)
from worker.inference.oom import PassSizes
from worker.inference.progress import OnProgress
from worker.models.brain_tumor.agreed_mode import ComputeModeStore, agreed_mode
from worker.models.brain_tumor.autotune import measure_modes
from worker.models.brain_tumor.input_check import check_input
from worker.models.brain_tumor.network import UNet3D, tumour_probability
from worker.models.brain_tumor.phantom import Mask, phantom_head
from worker.models.brain_tumor.recipe import Recipe, load_network
from worker.volume import postprocess, preprocess
from worker.volume.align_channels import Channel
from worker.volume.postprocess import Segmentation
from worker.volume.preprocess import Prepared
from worker.volume.resample import Volume

log = structlog.get_logger()

#: Batches that are run once before the first scan. The second shows a compiler that sizes differ,
#: so that it compiles once for all of them.
_WARM_SIZES = (1, 2)


@dataclass(frozen=True)
class Prediction:
    """The network's output for one scan: probabilities ``[D, H, W]``, presence as a logit."""

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
        modes: Sequence[ComputeMode],
        mode_store: ComputeModeStore | None,
    ) -> None:
        self.card = card
        self.device = str(device)
        self.pass_sizes = PassSizes()
        self._recipe = recipe
        self._network = network.to(device)
        self._device = device
        self._takes_flair = [channel.modality for channel in card.inputs] == ["FLAIR"]
        self._modes = modes
        self._mode_store = mode_store
        self.compute_mode = PLAIN
        self._forward: Callable[[Tensor], tuple[Tensor, Tensor]] = self._network

    @classmethod
    def load(
        cls,
        contents: BundleContents,
        options: ComputeOptions,
        mode_store: ComputeModeStore | None = None,
    ) -> Self:
        """Put a bundle's network on a device; see `worker.models.loader.load_predictor`.

        Raises:
            ModelError: The bundle cannot be run, or the device does not exist.
        """
        recipe = Recipe.of(contents.metadata, contents.folder.name)
        device = options.open_device()
        network = load_network(contents, recipe.network)
        modes = candidates(precisions(options.precision, device), compiled=options.compile_network)
        predictor = cls(contents.card, recipe, network, device, modes, mode_store)
        precision = choose_precision(options.precision, device)
        predictor._use(ComputeMode(PRECISION_NAMES[precision]))
        return predictor

    def warm_up(self) -> None:
        """Choose the fastest compute mode that gives the same mask, and run batches in it.

        Raises:
            RuntimeError: The network cannot run in the precision of the options.
        """
        grid = self._recipe.network_grid
        affine = np.diag([*[grid.spacing_mm] * 3, 1.0])
        sample = preprocess.to_network_grid(phantom_head(grid.shape), affine, grid)
        all_cores = cores()
        # Under load each lane has one core; a single scan has all cores.
        thread_counts = [1, all_cores] if self.device == "cpu" and all_cores > 1 else [all_cores]

        def outline(mode: ComputeMode, threads: int) -> Mask:
            self._use(mode)
            set_threads(threads)
            (prediction,) = self.predict([sample])
            return prediction.probability > self._recipe.mask.threshold

        def measure() -> ComputeMode:
            return measure_modes(self._modes, thread_counts, outline)

        def is_usable(mode: ComputeMode) -> bool:
            if mode not in self._modes:
                return False
            try:
                outline(mode, all_cores)
            except Exception as error:  # a backend may lack any operation
                log.warning("compute_mode_failed", mode=str(mode), error=type(error).__name__)
                return False
            return True

        try:
            if self.device != "cpu":
                outline(self.compute_mode, all_cores)  # a GPU's first pass loads its libraries
            self._use(agreed_mode(self._mode_store, measure, is_usable))
            for threads in thread_counts if self.compute_mode.compiled else [all_cores]:
                set_threads(threads)
                for size in _WARM_SIZES:
                    self.predict([sample] * size)
        finally:
            set_threads(all_cores)

    def preprocess(self, channels: Sequence[Channel]) -> Prepared:
        """Resample a scan of one channel to the network's grid, and check what it shows."""
        ((data, affine),) = channels
        grid = self._recipe.network_grid
        prepared = preprocess.to_network_grid(data, affine, grid)
        if not self._takes_flair:
            return prepared
        try:
            warnings = check_input(data, affine, prepared.volume[0], grid.spacing_mm)
        except Exception as error:  # a warning is an extra, and must not cost a scan its mask
            log_unexpected_error("input_check_failed", error)
            return prepared
        return replace(prepared, warnings=warnings)

    def pass_kind(self, prepared: Prepared) -> Hashable:
        """Return None: all scans are of one kind, because they are on the network's one grid."""
        return None

    def predict(
        self, batch: Sequence[Prepared], on_progress: Sequence[OnProgress] = ()
    ) -> list[Prediction]:
        """Run one forward pass over the batch and return its outputs in the same order."""
        images = torch.from_numpy(np.stack([prepared.volume for prepared in batch]))
        precision = PRECISIONS[self.compute_mode.precision]
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
                f"The network returned {len(predictions)} outputs for {len(batch)} scans; "
                "its forward pass must keep the first axis."
            )
        return predictions

    def postprocess(self, prepared: Prepared, prediction: Prediction) -> Segmentation:
        """Return mask, presence and statistics in the scan's own grid.

        A tumour is present if its probability is at least one half and the mask is not empty;
        otherwise the mask is emptied and the probability is below one half.
        """
        frame = prepared.frame
        mask = postprocess.to_scan_grid(prediction.probability, frame, self._recipe.mask_rules)
        labels = postprocess.label_statistics(mask, frame.affine, self.card.labels)
        volume_ml = sum(label.volume_ml for label in labels)
        probability = self._recipe.presence.probability(prediction.presence_logit, volume_ml)
        if labels and probability >= 0.5:
            segmentation = Segmentation(mask, True, probability, labels)
        else:
            segmentation = postprocess.empty_segmentation(mask, probability)
        return replace(segmentation, warnings=prepared.warnings)

    def _use(self, mode: ComputeMode) -> None:
        """Compute in this mode from now on; not to be called while a pass runs."""
        if mode == self.compute_mode:
            return
        self.compute_mode = mode
        contiguous = mode.memory_format == "contiguous"
        order = torch.contiguous_format if contiguous else torch.channels_last_3d
        # The memory format of the weights decides that of all that is computed from them.
        self._network.to(memory_format=order)  # type: ignore[call-overload]
        self._forward = torch.compile(self._network) if mode.compiled else self._network
