"""Runs a bundle of MONAI's kind as its ``configs/inference.json`` says.

Preprocessing, network, inferer and postprocessing are the bundle's own. In place of the transforms
that load files, a scan comes from memory, channel-first with its affine; in place of those that
save files, the output is returned. MONAI itself is an optional extra.
"""

import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from shared.bundles.config import Configuration, is_component
from shared.bundles.contents import BundleContents
from shared.bundles.files import STATE_DICT, TORCHSCRIPT
from shared.bundles.model_card import ModelCard
from shared.errors import BadScan, ModelError
from worker.device.compute_mode import ComputeMode
from worker.device.compute_options import ComputeOptions
from worker.device.select import PRECISION_NAMES, choose_precision
from worker.inference.forward_pass import PassContext, ScanInput, first_output
from worker.inference.inferers import Inferer, WholeVolumes, from_monai
from worker.inference.oom import PassSizes
from worker.inference.outputs import WholeOutput
from worker.inference.progress import OnProgress, ignore_progress
from worker.inference.streaming_argmax import LikeliestLabels, StreamingArgmax
from worker.models.monai.config_resolver import Resolver
from worker.models.monai.images import (
    as_loaded,
    as_output_of,
    as_plain,
    image_voxel_ml,
    in_scan_grid,
)
from worker.models.monai.transforms import BundleTransforms, build_transforms
from worker.models.safe_load.state_dict import fill_weights
from worker.models.safe_load.torchscript import load_torchscript
from worker.volume import label_map
from worker.volume.align_channels import Channel, on_first_grid
from worker.volume.grid_bound import refusals_unwrapped
from worker.volume.postprocess import Segmentation
from worker.volume.resample import Affine

#: The keys of the image and the output in the dictionaries of MONAI's evaluator.
_IMAGE, _OUTPUT = "image", "pred"
#: The edge of the blank volume that warms the network up, in voxels.
_BLANK = 32


@dataclass(frozen=True)
class PreparedScan:
    """One scan after the bundle's preprocessing: ``image`` is ``[C, D, H, W]``.

    ``data`` is MONAI's dictionary, which the postprocessing receives.
    """

    image: Tensor
    data: dict[str, Any]
    transforms: BundleTransforms
    shape: tuple[int, ...]
    affine: Affine


class MonaiPredictor:
    """A `worker.models.loader.Predictor` that runs a bundle as its configuration says."""

    def __init__(
        self,
        card: ModelCard,
        configuration: Configuration,
        network: torch.nn.Module,
        device: torch.device,
        precision: torch.dtype,
    ) -> None:
        self.card = card
        self.device = str(device)
        self.pass_sizes = PassSizes()
        self.compute_mode = ComputeMode(PRECISION_NAMES[precision])
        self._configuration = configuration
        self._precision = precision
        self._network = network.to(device).eval()
        self._context = PassContext(self._forward, device, self.pass_sizes)
        # Transforms keep state while a scan is processed, so each scan needs its own instance.
        self._unused_transforms: list[BundleTransforms] = []
        self._lock = threading.Lock()
        self._loaded_keys = _loaded_keys(configuration, self._resolver())
        if len(self._loaded_keys) not in (1, len(card.inputs)):
            raise ModelError(
                f"preprocessing loads {len(self._loaded_keys)} images, and the card names "
                f"{len(card.inputs)} inputs; load one image, or one for each input."
            )
        self._inferer = self._build_inferer()
        self._unused_transforms.append(self._build_transforms())

    @classmethod
    def load(cls, contents: BundleContents, options: ComputeOptions) -> Self:
        """Put a bundle's network on a device; see `worker.models.loader.load_predictor`.

        Raises:
            ModelError: The bundle cannot be run, or the device does not exist.
        """
        card, configuration = contents.card, contents.configuration
        if configuration is None:
            raise ModelError(f"{contents.folder.name}: there is no configs/inference.json.")
        device = options.open_device()
        if options.precision == "auto" and configuration.sections.get("amp") is not True:
            # The bundle was not validated with less.
            options = replace(options, precision="fp32")
        try:
            network = _build_network(contents, configuration)
            precision = choose_precision(options.precision, device)
            return cls(card, configuration, network, device, precision)
        except ModelError as error:
            raise ModelError(f"{card.ref}: {error.detail}") from error

    def warm_up(self) -> None:
        """Run one small blank scan through everything."""
        blank = np.zeros((_BLANK,) * 3, dtype=np.float32)
        blank[8:24, 8:24, 8:24] = 1
        prepared = self.preprocess([(blank, np.eye(4))] * len(self.card.inputs))
        self.postprocess(prepared, self.predict([prepared])[0])

    def preprocess(self, channels: Sequence[Channel]) -> PreparedScan:
        """Run the bundle's preprocessing over the scan's channels, in the first one's grid.

        Raises:
            BadScan: The channels have different grids, and the bundle does not resample; or the
                bundle's spacing makes too large a volume.
        """
        affine = np.asarray(channels[0][1], dtype=np.float64)
        volumes = on_first_grid(channels, self.card)
        transforms = self._take_transforms()
        with refusals_unwrapped():
            data = transforms.before(as_loaded(volumes, affine, self._loaded_keys))
        image = data.get(_IMAGE, data.get(self._loaded_keys[0]))
        if not isinstance(image, Tensor) or image.ndim != 4:
            raise BadScan("The model's preprocessing does not make an image of this scan.")
        return PreparedScan(image, data, transforms, volumes[0].shape, affine)

    def pass_kind(self, prepared: PreparedScan) -> Hashable:
        """See `worker.models.loader.Predictor`."""
        return self._inferer.kind(prepared.image)

    def predict(
        self, batch: Sequence[PreparedScan], on_progress: Sequence[OnProgress] = ()
    ) -> list[Tensor | LikeliestLabels]:
        """Return the network's outputs ``[L, D, H, W]``, float32 in the host's memory.

        If the postprocessing begins with an argmax, it is computed as the outputs become final.
        """
        sinks = [self._sink(prepared) for prepared in batch]
        callbacks = on_progress or [ignore_progress] * len(batch)
        scans = [
            ScanInput(as_plain(prepared.image), sink, callback)
            for prepared, sink, callback in zip(batch, sinks, callbacks, strict=True)
        ]
        with torch.inference_mode():
            self._inferer.run(scans, self._context)
            return [sink.result() for sink in sinks]

    def postprocess(
        self, prepared: PreparedScan, prediction: Tensor | LikeliestLabels
    ) -> Segmentation:
        """Run the bundle's postprocessing, and return its output as labels in the scan's grid."""
        labels = self.card.labels
        if isinstance(prediction, LikeliestLabels):
            probability, values = prediction.presence.probability(), prediction.labels.float()
        else:
            voxel_ml = image_voxel_ml(prepared.image)
            probability = label_map.presence_probability(prediction, labels, voxel_ml)
            values = prediction
        output = as_output_of(prepared.image, values)
        with torch.inference_mode():
            data = prepared.transforms.after({**prepared.data, _OUTPUT: output})
        final = in_scan_grid(data[_OUTPUT], prepared.shape, prepared.affine)
        self._return_transforms(prepared.transforms)
        return label_map.segmentation(final, prepared.affine, labels, probability)

    def _forward(self, images: Tensor) -> Tensor:
        reduced = self._precision != torch.float32
        with torch.autocast(images.device.type, self._precision, enabled=reduced):
            return first_output(self._network)(images)

    def _sink(self, prepared: PreparedScan) -> WholeOutput | StreamingArgmax:
        argmax = prepared.transforms.argmax
        if argmax is None:
            return WholeOutput()
        return StreamingArgmax(argmax, self.card.labels, image_voxel_ml(prepared.image))

    def _resolver(self) -> Resolver:
        given = {
            "device": self._context.device,
            "bundle_root": str(self.card.folder),
            "network": self._network,
            "network_def": self._network,
        }
        return Resolver(self._configuration, given)

    def _build_inferer(self) -> Inferer:
        if "inferer" not in self._configuration.sections:
            return WholeVolumes()
        return from_monai(self._resolver().get("inferer"))

    def _build_transforms(self) -> BundleTransforms:
        return build_transforms(self._resolver(), self._configuration.sections, _OUTPUT)

    def _take_transforms(self) -> BundleTransforms:
        with self._lock:
            if self._unused_transforms:
                return self._unused_transforms.pop()
        return self._build_transforms()

    def _return_transforms(self, transforms: BundleTransforms) -> None:
        with self._lock:
            self._unused_transforms.append(transforms)


def _build_network(contents: BundleContents, configuration: Configuration) -> torch.nn.Module:
    section = configuration.network_section
    if TORCHSCRIPT in contents.weights and STATE_DICT not in contents.weights:
        return load_torchscript(contents.folder / TORCHSCRIPT)
    if section not in configuration.sections:
        raise ModelError(f"there is no network_def, and no {TORCHSCRIPT}.")
    given = {"device": torch.device("cpu"), "bundle_root": str(contents.folder)}
    network = Resolver(configuration, given).get(section)
    if not isinstance(network, torch.nn.Module):
        raise ModelError(f"{section} makes a {type(network).__name__}, not a network.")
    return fill_weights(network, contents.folder)


def _loaded_keys(configuration: Configuration, resolver: Resolver) -> list[str]:
    """Return the keys under which the preprocessing loads images."""
    preprocessing = configuration.sections.get("preprocessing")
    transforms = preprocessing.get("transforms") if isinstance(preprocessing, dict) else None
    for index, transform in enumerate(transforms if isinstance(transforms, list) else []):
        if is_component(transform) and "LoadImage" in str(transform["_target_"]):
            keys = resolver.get(f"preprocessing::transforms::{index}::keys")
            return [keys] if isinstance(keys, str) else [str(key) for key in keys]
    return [_IMAGE]
