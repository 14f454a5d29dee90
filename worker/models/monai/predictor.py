"""A bundle of MONAI's kind in service: run as its ``configs/inference.json`` says.

Preprocessing, network, inferer and postprocessing are the bundle's own. Where it would load files
a scan comes in from memory, channel-first with the scan's affine; where it would save one, its
answer is taken. MONAI itself is an optional extra.
"""

import copy
import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.bundles.config import Configuration, is_component
from shared.bundles.model_card import ModelCard
from shared.errors import BadScan, ModelError
from shared.volumes.geometry import is_same_grid, voxel_volume_ml
from worker.device.compute_mode import ComputeMode
from worker.device.select import (
    PRECISION_NAMES,
    choose_device,
    choose_precision,
    limit_gpu_memory,
    set_threads,
)
from worker.inference.forward_pass import first_output
from worker.inference.inferers import Inferer, WholeVolumes, from_monai
from worker.inference.oom import PassSizes
from worker.inference.outputs import WholeOutput
from worker.inference.progress import OnShare, unheard
from worker.inference.streaming_argmax import LikeliestLabels, StreamingArgmax
from worker.models.monai.config_resolver import Resolver
from worker.models.monai.transforms import BundleTransforms, build_transforms
from worker.models.safe_load.state_dict import WEIGHTS, fill_weights
from worker.models.safe_load.torchscript import load_torchscript
from worker.volume import label_map
from worker.volume.align_channels import Channel, on_first_grid
from worker.volume.grid_bound import refusals_unwrapped
from worker.volume.postprocess import Segmentation
from worker.volume.resample import Affine

#: The keys under which MONAI's evaluator hands the image in and finds the answer.
_IMAGE, _ANSWER = "image", "pred"
#: The edge of the blank volume that warms the network up, in voxels.
_BLANK = 32


@dataclass(frozen=True)
class PreparedScan:
    """One scan after the bundle's preprocessing: ``image`` is ``[C, D, H, W]``.

    ``data`` is MONAI's dictionary that goes on to the postprocessing.
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
        self.arithmetic = ComputeMode(PRECISION_NAMES[precision])
        self._configuration = configuration
        self._device = device
        self._precision = precision
        self._network = network.to(device).eval()
        self._spare: list[BundleTransforms] = []
        self._lock = threading.Lock()
        self._loaded_keys = _loaded_keys(configuration, self._resolver())
        if len(self._loaded_keys) not in (1, len(card.inputs)):
            raise ModelError(
                f"preprocessing loads {len(self._loaded_keys)} images, and the card names "
                f"{len(card.inputs)} inputs; load one image, or one for each input."
            )
        self._inferer = self._build_inferer()
        self._spare.append(self._build_transforms())

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

        Raises:
            ModelError: The bundle cannot be read or run, or the device is not there.
        """
        card, configuration = ModelCard.read(bundle), Configuration.read(bundle)
        if configuration is None:
            raise ModelError(f"{bundle.name}: there is no configs/inference.json.")
        place = choose_device(device)
        limit_gpu_memory(place, growth=memory_growth, fraction=memory_fraction)
        set_threads(threads)
        if precision == "auto" and configuration.sections.get("amp") is not True:
            precision = "fp32"  # the bundle was not validated with less
        try:
            network = _build_network(bundle, configuration)
            return cls(card, configuration, network, place, choose_precision(precision, place))
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
            BadScan: The channels lie in unlike grids, and the bundle does not resample; or the
                bundle's spacing makes a grid that is too large.
        """
        affine = np.asarray(channels[0][1], dtype=np.float64)
        volumes = on_first_grid(channels, self.card)
        transforms = self._take_transforms()
        with refusals_unwrapped():
            data = transforms.before(self._as_loaded(volumes, affine))
        image = data.get(_IMAGE, data.get(self._loaded_keys[0]))
        if not isinstance(image, Tensor) or image.ndim != 4:
            raise BadScan("The model's preprocessing does not make an image of this scan.")
        return PreparedScan(image, data, transforms, volumes[0].shape, affine)

    def pass_kind(self, prepared: PreparedScan) -> Hashable:
        """See `worker.models.loader.Predictor`."""
        return self._inferer.kind(prepared.image)

    def predict(
        self, batch: Sequence[PreparedScan], on_shares: Sequence[OnShare] = ()
    ) -> list[Tensor | LikeliestLabels]:
        """Return the network's answers ``[L, D, H, W]``, float32 in the computer's own memory.

        Where the postprocessing begins with an argmax, it is taken as the answers come in.
        """
        keepers = [self._keeper(prepared) for prepared in batch]
        images = [_plain(prepared.image) for prepared in batch]
        told = on_shares or [unheard] * len(batch)
        with torch.inference_mode():
            self._inferer.run(images, keepers, told, self._forward, self._device, self.pass_sizes)
            return [keeper.result() for keeper in keepers]

    def postprocess(
        self, prepared: PreparedScan, prediction: Tensor | LikeliestLabels
    ) -> Segmentation:
        """Run the bundle's postprocessing and make one label volume in the scan's grid of it."""
        from monai.data import MetaTensor

        labels = self.card.labels
        if isinstance(prediction, LikeliestLabels):
            probability, values = prediction.suspicion.probability(), prediction.labels.float()
        else:
            voxel_ml = _voxel_ml(prepared.image)
            probability = label_map.presence_probability(prediction, labels, voxel_ml)
            values = prediction
        meta = getattr(prepared.image, "meta", None)
        answer = MetaTensor(values, meta=copy.deepcopy(meta) if meta else None)
        answer.applied_operations = copy.deepcopy(getattr(prepared.image, "applied_operations", []))
        with torch.inference_mode():
            data = prepared.transforms.after({**prepared.data, _ANSWER: answer})
        ready = _in_scan_grid(data[_ANSWER], prepared)
        self._give_back(prepared.transforms)
        return label_map.segmentation(ready, prepared.affine, labels, probability)

    def _forward(self, images: Tensor) -> Tensor:
        reduced = self._precision != torch.float32
        with torch.autocast(self._device.type, self._precision, enabled=reduced):
            return first_output(self._network)(images)

    def _keeper(self, prepared: PreparedScan) -> WholeOutput | StreamingArgmax:
        argmax = prepared.transforms.argmax
        if argmax is None:
            return WholeOutput()
        return StreamingArgmax(argmax, self.card.labels, _voxel_ml(prepared.image))

    def _as_loaded(self, volumes: Sequence[NDArray[np.generic]], affine: Affine) -> dict[str, Any]:
        """Return what loading the files would have given: channel-first images with an affine."""
        from monai.data import MetaTensor

        stacked = torch.stack(
            [torch.from_numpy(np.ascontiguousarray(one, dtype=np.float32)) for one in volumes]
        )
        one_each = len(self._loaded_keys) > 1
        images = [one[None] for one in stacked] if one_each else [stacked]
        where = torch.from_numpy(affine)
        return {
            key: MetaTensor(
                image,
                affine=where,
                meta={
                    "original_affine": where.clone(),
                    "original_channel_dim": 0,
                    "spatial_shape": np.array(image.shape[1:]),
                    "space": "RAS",
                },
            )
            for key, image in zip(self._loaded_keys, images, strict=True)
        }

    def _resolver(self) -> Resolver:
        given = {
            "device": self._device,
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
        return build_transforms(self._resolver(), self._configuration.sections, _ANSWER)

    def _take_transforms(self) -> BundleTransforms:
        with self._lock:
            if self._spare:
                return self._spare.pop()
        return self._build_transforms()

    def _give_back(self, transforms: BundleTransforms) -> None:
        with self._lock:
            self._spare.append(transforms)


def _build_network(bundle: Path, configuration: Configuration) -> torch.nn.Module:
    section = configuration.network_section
    script = bundle / "models" / "model.ts"
    if script.exists() and not (bundle / WEIGHTS).exists():
        return load_torchscript(script)
    if section not in configuration.sections:
        raise ModelError("there is no network_def, and no models/model.ts.")
    given = {"device": torch.device("cpu"), "bundle_root": str(bundle)}
    network = Resolver(configuration, given).get(section)
    if not isinstance(network, torch.nn.Module):
        raise ModelError(f"{section} makes a {type(network).__name__}, not a network.")
    return fill_weights(network, bundle)


def _loaded_keys(configuration: Configuration, resolver: Resolver) -> list[str]:
    """Return the keys that the preprocessing loads images under."""
    preprocessing = configuration.sections.get("preprocessing")
    transforms = preprocessing.get("transforms") if isinstance(preprocessing, dict) else None
    for index, transform in enumerate(transforms if isinstance(transforms, list) else []):
        if is_component(transform) and "LoadImage" in str(transform["_target_"]):
            keys = resolver.get(f"preprocessing::transforms::{index}::keys")
            return [keys] if isinstance(keys, str) else [str(key) for key in keys]
    return [_IMAGE]


def _plain(image: Tensor) -> Tensor:
    """Return an image as a tensor of torch's own, which networks are faster with."""
    return image.as_subclass(Tensor).float()


def _voxel_ml(image: Tensor) -> float:
    affine = np.asarray(getattr(image, "affine", np.eye(4)))
    return voxel_volume_ml(affine)


def _in_scan_grid(answer: Any, prepared: PreparedScan) -> Tensor:
    """Return the answer as ``[L, I, J, K]`` in the scan's grid, labels drawn from the nearest."""
    from monai.transforms import SpatialResample

    if answer.ndim == 3:
        answer = answer[None]
    affine = np.asarray(getattr(answer, "affine", prepared.affine))
    if not is_same_grid(answer.shape[1:], affine, prepared.shape, prepared.affine):
        resample = SpatialResample(mode="nearest", padding_mode="zeros")
        answer = resample(
            answer,
            dst_affine=torch.from_numpy(prepared.affine),
            spatial_size=prepared.shape,
        )
    return _plain(torch.as_tensor(answer)).cpu()
