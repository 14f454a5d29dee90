"""A bundle that is a TorchScript or ``torch.export`` file in service.

Such a file brings its network and nothing else, so what happens before and after it follows the
metadata (`worker.models.exported.recipe`): resampled, normalised, run in Gaussian-blended windows,
brought back as probabilities and cut to labels in the scan's own grid.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from shared.bundles.model_card import ModelCard
from shared.errors import ModelError
from shared.volumes.geometry import voxel_volume_ml
from worker.device.compute_mode import PLAIN
from worker.device.select import choose_device, choose_precision, limit_gpu_memory, set_threads
from worker.inference.batched_windows import WindowedScan, run_windows
from worker.inference.forward_pass import Network, first_output
from worker.inference.oom import PassSizes
from worker.inference.outputs import WholeOutput
from worker.inference.progress import OnShare, unheard
from worker.models.exported.recipe import ExportedRecipe
from worker.models.safe_load.torch_export import load_exported
from worker.models.safe_load.torchscript import load_torchscript
from worker.volume import label_map
from worker.volume.align_channels import Channel, on_first_grid
from worker.volume.postprocess import Segmentation
from worker.volume.resample import Affine, Volume, sample_affine

TORCHSCRIPT = Path("models") / "model.ts"
EXPORTED = Path("models") / "model.pt2"


@dataclass(frozen=True)
class PreparedScan:
    """One scan on the network's grid: ``image`` is ``[C, D, H, W]``, ``to_scan`` the way back."""

    image: Tensor
    to_scan: Affine
    shape: tuple[int, ...]
    affine: Affine


class ExportedPredictor:
    """A `worker.models.loader.Predictor` round a network that came as one file."""

    def __init__(
        self, card: ModelCard, recipe: ExportedRecipe, network: Network, device: torch.device
    ) -> None:
        self.card = card
        self.device = str(device)
        self.pass_sizes = PassSizes()
        self.arithmetic = PLAIN
        self._recipe = recipe
        self._network = network
        self._device = device

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
        """Read a bundle and put its network on a device; see `worker.models.loader.load_predictor`.

        An exported network computes in the arithmetic that it was exported with; ``precision``
        is only checked to be one.

        Raises:
            ModelError: The bundle cannot be read or run safely, or the device is not there.
        """
        card = ModelCard.read(bundle)
        place = choose_device(device)
        limit_gpu_memory(place, growth=memory_growth, fraction=memory_fraction)
        choose_precision(precision, place)
        set_threads(threads)
        try:
            recipe = ExportedRecipe.read(bundle)
            if (bundle / TORCHSCRIPT).exists():
                network: Network = load_torchscript(bundle / TORCHSCRIPT).to(place)
            else:
                network = load_exported(bundle / EXPORTED, place)
        except ModelError as error:
            raise ModelError(f"{card.ref}: {error.detail}") from error
        return cls(card, recipe, network, place)

    def warm_up(self) -> None:
        """Run one small blank scan through everything."""
        blank = np.zeros((32, 32, 32), dtype=np.float32)
        blank[8:24, 8:24, 8:24] = 1
        prepared = self.preprocess([(blank, np.eye(4))] * len(self.card.inputs))
        self.postprocess(prepared, self.predict([prepared])[0])

    def preprocess(self, channels: Sequence[Channel]) -> PreparedScan:
        """Bring the scan's channels to the network's grid and normalise them.

        Raises:
            BadScan: The channels lie in unlike grids, and the bundle does not resample.
        """
        affine = np.asarray(channels[0][1], dtype=np.float64)
        volumes = on_first_grid(channels, self.card)
        shape, to_scan = self._recipe.grid(volumes[0].shape, affine)
        drawn = [
            sample_affine(np.ascontiguousarray(volume, dtype=np.float32), shape, to_scan)
            for volume in volumes
        ]
        image = self._recipe.normalised(torch.from_numpy(np.stack(drawn)))
        return PreparedScan(image, to_scan, volumes[0].shape, affine)

    def pass_kind(self, prepared: PreparedScan) -> Hashable:
        """Return what is the same for all: windows go through whatever the scans' shapes."""
        return None

    def predict(
        self, batch: Sequence[PreparedScan], on_shares: Sequence[OnShare] = ()
    ) -> list[Tensor]:
        """Return the network's answers ``[L, D, H, W]``, float32 in the computer's own memory."""
        answers = [WholeOutput() for _ in batch]
        scans = (
            WindowedScan(
                prepared.image,
                self._recipe.windows(tuple(prepared.image.shape[1:])),
                answer,
                on_share,
            )
            for prepared, answer, on_share in zip(
                batch, answers, on_shares or [unheard] * len(batch), strict=True
            )
        )
        with torch.inference_mode():
            run_windows(scans, first_output(self._network), self._device, self.pass_sizes)
        return [answer.result() for answer in answers]

    def postprocess(self, prepared: PreparedScan, prediction: Tensor) -> Segmentation:
        """Cut the probabilities to labels in the scan's own grid.

        Raises:
            ModelError: The network's channels do not fit the card's labels.
        """
        labels = self.card.labels
        voxel_ml = voxel_volume_ml(prepared.affine @ prepared.to_scan)
        probability = label_map.presence_probability(prediction, labels, voxel_ml)
        exclusive = label_map.has_background(prediction, labels)
        to_network = np.asarray(np.linalg.inv(prepared.to_scan), dtype=np.float64)
        drawn = (
            sample_affine(np.ascontiguousarray(chance.numpy()), prepared.shape, to_network)
            for chance in label_map.channel_probabilities(prediction, exclusive=exclusive)
        )
        if exclusive:
            answer = _likeliest(drawn)
        else:
            answer = torch.from_numpy(np.stack(list(drawn)))
            if answer.shape[0] == 1 and len(labels) == 1:
                answer = (answer > 0.5) * float(labels[0].value)  # the region is the label map
        return label_map.segmentation(answer, prepared.affine, labels, probability)


def _likeliest(channels: Iterable[Volume]) -> Tensor:
    """Return the argmax ``[1, I, J, K]`` of channels that come one by one, none of which is kept.

    Where some are equal the first counts, as in any argmax.
    """
    coming = iter(channels)
    most = next(coming)
    winner = np.zeros(most.shape, np.float32)
    for index, chances in enumerate(coming, start=1):
        winner[chances > most] = index
        np.maximum(most, chances, out=most)
    return torch.from_numpy(winner[None])
