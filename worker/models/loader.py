"""A model in service: all that the pipeline sees of torch."""

from collections.abc import Hashable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from shared.bundles.config import CONFIGURATION
from shared.bundles.files import read_json
from shared.bundles.model_card import METADATA, ModelCard
from shared.errors import ModelError
from worker.device.compute_mode import ComputeMode
from worker.inference.oom import PassSizes
from worker.inference.progress import OnShare
from worker.models.brain_tumor.predictor import TumorPredictor
from worker.models.exported.predictor import EXPORTED, TORCHSCRIPT, ExportedPredictor
from worker.models.monai.predictor import MonaiPredictor
from worker.volume.align_channels import Channel
from worker.volume.postprocess import Segmentation


class Predictor(Protocol):
    """One network on one device.

    What `preprocess` and `predict` return is the predictor's own; others only pass it on.
    `preprocess` and `postprocess` may be called by several threads at once, and so may `predict`
    on a CPU. ``pass_sizes`` is what it has learnt of the memory that a pass takes.
    """

    card: ModelCard
    device: str
    pass_sizes: PassSizes
    arithmetic: ComputeMode

    def warm_up(self) -> None:
        """Run the network on nothing, so that the first scan costs what later ones do."""

    def preprocess(self, channels: Sequence[Channel]) -> Any:
        """Bring one scan to the network.

        Args:
            channels: ``(data [I, J, K], 4x4 affine)`` for each of the card's inputs, in its
                order.

        Raises:
            BadScan: The channels do not fit the model or each other.
        """

    def pass_kind(self, prepared: Any) -> Hashable:
        """Tell which prepared scans `predict` takes together: those of one kind."""

    def predict(self, batch: Sequence[Any], on_shares: Sequence[OnShare] = ()) -> list[Any]:
        """Run the network over prepared scans of one kind; one answer a scan, in the same order.

        ``on_shares``, one a scan if any, are told how much of a scan is done by predictors that
        take it window by window.
        """

    def postprocess(self, prepared: Any, prediction: Any) -> Segmentation:
        """Return mask, presence and statistics in the grid of the scan's first channel."""


def load_predictor(
    bundle: Path,
    *,
    device: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    memory_growth: bool = True,
    memory_fraction: float = 1.0,
    compile_network: bool = False,
) -> Predictor:
    """Read a bundle and put its network on a device.

    Args:
        bundle: The folder with ``configs/metadata.json``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        threads: Threads of a forward pass on a CPU; 0 leaves torch's choice.
        memory_growth: Whether GPU memory is taken piece by piece.
        memory_fraction: The largest share of the GPU's memory.
        compile_network: Whether to try ``torch.compile``; other bundles than the default model's
            kind run as they are.

    Raises:
        ModelError: The bundle cannot be read or run, or the device is not there.
    """
    load = _kind(bundle).load
    if load == TumorPredictor.load:
        load = partial(TumorPredictor.load, compile_network=compile_network)
    return load(
        bundle,
        device=device,
        precision=precision,
        threads=threads,
        memory_growth=memory_growth,
        memory_fraction=memory_fraction,
    )


def _kind(bundle: Path) -> type[MonaiPredictor | ExportedPredictor | TumorPredictor]:
    """Tell from a bundle's files what it takes to run it."""
    if (bundle / CONFIGURATION).exists():
        return MonaiPredictor
    if (bundle / TORCHSCRIPT).exists() or (bundle / EXPORTED).exists():
        return ExportedPredictor
    if "network" in read_json(bundle / METADATA, f"{bundle.name}: {METADATA}"):
        return TumorPredictor
    raise ModelError(
        f"{bundle.name}: nothing says how to run it. A bundle has {CONFIGURATION} with "
        f"models/model.pt, or {TORCHSCRIPT}, or {EXPORTED}."
    )
