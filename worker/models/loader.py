"""A loaded model, as the pipeline uses it, and which predictor runs which kind of bundle."""

from collections.abc import Hashable, Sequence
from typing import Any, Protocol

from shared.bundles.contents import BundleContents, BundleKind
from shared.bundles.files import CONFIGURATION, EXPORTED_PROGRAM, STATE_DICT, TORCHSCRIPT
from shared.bundles.model_card import ModelCard
from shared.errors import ModelError
from worker.device.compute_mode import ComputeMode
from worker.device.compute_options import ComputeOptions
from worker.inference.oom import PassSizes
from worker.inference.progress import OnProgress
from worker.models.brain_tumor.agreed_mode import ComputeModeStore
from worker.models.brain_tumor.predictor import TumorPredictor
from worker.models.exported.predictor import ExportedPredictor
from worker.models.monai.predictor import MonaiPredictor
from worker.volume.align_channels import Channel
from worker.volume.postprocess import Segmentation


class Predictor(Protocol):
    """One network on one device.

    Each predictor has its own types for what `preprocess` and `predict` return; callers only pass
    them on. `preprocess` and `postprocess` may be called by several threads at once, and so may
    `predict` on a CPU. ``pass_sizes`` keeps how large a pass may be within the memory.
    """

    card: ModelCard
    device: str
    pass_sizes: PassSizes
    compute_mode: ComputeMode

    def warm_up(self) -> None:
        """Run the network once, so that the first scan takes no longer than later ones."""

    def preprocess(self, channels: Sequence[Channel]) -> Any:
        """Prepare one scan for the network.

        Args:
            channels: ``(data [I, J, K], 4x4 affine)`` for each of the card's inputs, in its
                order.

        Raises:
            BadScan: The channels do not fit the model or each other.
        """

    def pass_kind(self, prepared: Any) -> Hashable:
        """Return the kind of a prepared scan; `predict` takes only scans of one kind together."""

    def predict(self, batch: Sequence[Any], on_progress: Sequence[OnProgress] = ()) -> list[Any]:
        """Run the network over prepared scans of one kind; one output a scan, in the same order.

        Predictors that run a scan window by window call ``on_progress``, one a scan if any.
        """

    def postprocess(self, prepared: Any, prediction: Any) -> Segmentation:
        """Return mask, presence and statistics in the grid of the scan's first channel."""


def load_predictor(
    contents: BundleContents,
    options: ComputeOptions,
    mode_store: ComputeModeStore | None = None,
) -> Predictor:
    """Put a bundle's network on a device.

    Args:
        contents: What the bundle's text files say.
        options: Device, precision and limits.
        mode_store: Keeps the compute mode that is measured at warm-up; None: it is not kept.

    Raises:
        ModelError: The bundle cannot be read or run, or the device does not exist.
    """
    match contents.kind:
        case BundleKind.MONAI:
            return MonaiPredictor.load(contents, options)
        case BundleKind.EXPORTED:
            return ExportedPredictor.load(contents, options)
        case BundleKind.BRAIN_TUMOR:
            return TumorPredictor.load(contents, options, mode_store)
    raise ModelError(
        f"{contents.folder.name}: nothing says how to run it. A bundle has {CONFIGURATION} with "
        f"{STATE_DICT}, or {TORCHSCRIPT}, or {EXPORTED_PROGRAM}."
    )
