"""Runs a bundle that is a TorchScript or ``torch.export`` file.

Such a file contains only its network, so the steps before and after it follow the metadata
(`worker.models.exported.recipe`): a scan is resampled, normalised, and run in windows that are
blended by Gaussian weights; the probabilities are resampled to the scan's grid and become labels.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from shared.bundles.contents import BundleContents
from shared.bundles.files import EXPORTED_PROGRAM, TORCHSCRIPT
from shared.bundles.model_card import ModelCard
from shared.errors import ModelError
from shared.volumes.geometry import voxel_volume_ml
from worker.device.compute_mode import PLAIN
from worker.device.compute_options import ComputeOptions
from worker.device.select import choose_precision
from worker.inference.batched_windows import WindowedScan, run_windows
from worker.inference.forward_pass import Network, PassContext, ScanInput, first_output
from worker.inference.oom import PassSizes
from worker.inference.outputs import WholeOutput
from worker.inference.progress import OnProgress, ignore_progress
from worker.models.exported.recipe import ExportedRecipe
from worker.models.safe_load.torch_export import load_exported
from worker.models.safe_load.torchscript import load_torchscript
from worker.volume import label_map
from worker.volume.align_channels import Channel, on_first_grid
from worker.volume.postprocess import Segmentation
from worker.volume.resample import Affine, Volume, sample_affine


@dataclass(frozen=True)
class PreparedScan:
    """One scan on the network's grid: ``image`` is ``[C, D, H, W]``.

    ``to_scan`` maps the grid's voxels to the scan's.
    """

    image: Tensor
    to_scan: Affine
    shape: tuple[int, ...]
    affine: Affine


class ExportedPredictor:
    """A `worker.models.loader.Predictor` for a network that is one file."""

    def __init__(
        self, card: ModelCard, recipe: ExportedRecipe, network: Network, device: torch.device
    ) -> None:
        self.card = card
        self.device = str(device)
        self.pass_sizes = PassSizes()
        self.compute_mode = PLAIN
        self._recipe = recipe
        self._context = PassContext(first_output(network), device, self.pass_sizes)

    @classmethod
    def load(cls, contents: BundleContents, options: ComputeOptions) -> Self:
        """Put a bundle's network on a device; see `worker.models.loader.load_predictor`.

        An exported network computes in the precision that it was exported with; the option
        ``precision`` is only validated.

        Raises:
            ModelError: The bundle cannot be run safely, or the device does not exist.
        """
        card = contents.card
        device = options.open_device()
        choose_precision(options.precision, device)
        try:
            recipe = ExportedRecipe.of(contents.metadata)
            if TORCHSCRIPT in contents.weights:
                network: Network = load_torchscript(contents.folder / TORCHSCRIPT).to(device)
            else:
                network = load_exported(contents.folder / EXPORTED_PROGRAM, device)
        except ModelError as error:
            raise ModelError(f"{card.ref}: {error.detail}") from error
        return cls(card, recipe, network, device)

    def warm_up(self) -> None:
        """Run one small blank scan through everything."""
        blank = np.zeros((32, 32, 32), dtype=np.float32)
        blank[8:24, 8:24, 8:24] = 1
        prepared = self.preprocess([(blank, np.eye(4))] * len(self.card.inputs))
        self.postprocess(prepared, self.predict([prepared])[0])

    def preprocess(self, channels: Sequence[Channel]) -> PreparedScan:
        """Bring the scan's channels to the network's grid and normalise them.

        Raises:
            BadScan: The channels have different grids, and the bundle does not resample.
        """
        affine = np.asarray(channels[0][1], dtype=np.float64)
        volumes = on_first_grid(channels, self.card)
        shape, to_scan = self._recipe.grid(volumes[0].shape, affine)
        resampled = [
            sample_affine(np.ascontiguousarray(volume, dtype=np.float32), shape, to_scan)
            for volume in volumes
        ]
        image = self._recipe.normalised(torch.from_numpy(np.stack(resampled)))
        return PreparedScan(image, to_scan, volumes[0].shape, affine)

    def pass_kind(self, prepared: PreparedScan) -> Hashable:
        """Return None: all scans are of one kind, because their windows share passes."""
        return None

    def predict(
        self, batch: Sequence[PreparedScan], on_progress: Sequence[OnProgress] = ()
    ) -> list[Tensor]:
        """Return the network's outputs ``[L, D, H, W]``, float32 in the host's memory."""
        sinks = [WholeOutput() for _ in batch]
        callbacks = on_progress or [ignore_progress] * len(batch)
        scans = (
            WindowedScan(
                ScanInput(prepared.image, sink, callback),
                self._recipe.windows(tuple(prepared.image.shape[1:])),
            )
            for prepared, sink, callback in zip(batch, sinks, callbacks, strict=True)
        )
        with torch.inference_mode():
            run_windows(scans, self._context)
        return [sink.result() for sink in sinks]

    def postprocess(self, prepared: PreparedScan, prediction: Tensor) -> Segmentation:
        """Return the labels that the probabilities mean in the scan's grid.

        Raises:
            ModelError: The network's channels do not fit the card's labels.
        """
        labels = self.card.labels
        voxel_ml = voxel_volume_ml(prepared.affine @ prepared.to_scan)
        probability = label_map.presence_probability(prediction, labels, voxel_ml)
        exclusive = label_map.has_background(prediction, labels)
        to_network = np.asarray(np.linalg.inv(prepared.to_scan), dtype=np.float64)
        channels = (
            sample_affine(np.ascontiguousarray(channel.numpy()), prepared.shape, to_network)
            for channel in label_map.channel_probabilities(prediction, exclusive=exclusive)
        )
        if exclusive:
            output = _argmax(channels)
        else:
            output = torch.from_numpy(np.stack(list(channels)))
            if output.shape[0] == 1 and len(labels) == 1:
                output = (output > 0.5) * float(labels[0].value)  # the region is the label map
        return label_map.segmentation(output, prepared.affine, labels, probability)


def _argmax(channels: Iterable[Volume]) -> Tensor:
    """Return the argmax ``[1, I, J, K]`` of channels, of which no more than two are in memory.

    Of equal channels the first is taken, as in any argmax.
    """
    remaining = iter(channels)
    highest = next(remaining)
    argmax = np.zeros(highest.shape, np.float32)
    for index, channel in enumerate(remaining, start=1):
        argmax[channel > highest] = index
        np.maximum(highest, channel, out=highest)
    return torch.from_numpy(argmax[None])
