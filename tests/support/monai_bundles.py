"""Small bundles in the format of MONAI's model zoo, with random weights, on disk."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch

from shared.bundles.config import Configuration
from worker.models.monai.config_resolver import Resolver

#: The last step of the BraTS bundle: three overlapping regions become one label map.
BRATS_LABELS = (
    "$lambda x: torch.where(x[[2]] > 0, 4, "
    "torch.where(x[[0]] > 0, 1, torch.where(x[[1]] > 0, 2, 0)))"
)
DEVICE = "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')"


def component(target: str, **arguments: Any) -> dict[str, Any]:
    """Return a component of a configuration."""
    return {"_target_": target, **arguments}


def evaluation(data: str) -> dict[str, Any]:
    """Return the sections that a zoo bundle has for MONAI's own evaluator only."""
    return {
        "imports": ["$import glob", "$import os", "$import pandas as pd"],
        "bundle_root": ".",
        "output_dir": "$@bundle_root + '/eval'",
        "dataset_dir": "/data/images",
        "datalist": data,
        "device": DEVICE,
        "dataset": component("Dataset", data="@datalist", transform="@preprocessing"),
        "dataloader": component("DataLoader", dataset="@dataset", num_workers=4),
        "handlers": [
            component(
                "CheckpointLoader",
                load_path="$@bundle_root + '/models/model.pt'",
                load_dict={"model": "@network"},
            ),
            component("StatsHandler", iteration_log=False),
        ],
        "evaluator": component(
            "SupervisedEvaluator", device="@device", network="@network", amp=True
        ),
        "initialize": [
            "$monai.utils.set_determinism(seed=123)",
            "$setattr(torch.backends.cudnn, 'benchmark', True)",
        ],
        "run": ["$@evaluator.run()"],
    }


def four_channels(*, label_map: bool = True) -> dict[str, Any]:
    """Return a configuration with the classes and parameters of the BraTS bundle."""
    after = [
        component("Activationsd", keys="pred", sigmoid=True),
        component(
            "Invertd",
            keys="pred",
            transform="@preprocessing",
            orig_keys="image",
            meta_keys="pred_meta_dict",
            nearest_interp=False,
            to_tensor=True,
        ),
        component("AsDiscreted", keys="pred", threshold=0.5),
        component("Lambdad", keys="pred", func=BRATS_LABELS),
        component(
            "SaveImaged",
            keys="pred",
            meta_keys="pred_meta_dict",
            output_dir="@output_dir",
            output_dtype="uint8",
            resample=False,
            squeeze_end_dims=True,
        ),
    ]
    if not label_map:
        del after[3]
    return {
        **evaluation("$monai.data.load_decathlon_datalist(@dataset_dir, base_dir=@dataset_dir)"),
        "amp": True,
        "network_def": component(
            "SegResNet",
            blocks_down=[1, 2, 2, 4],
            blocks_up=[1, 1, 1],
            init_filters=8,
            in_channels=4,
            out_channels=3,
            dropout_prob=0.2,
        ),
        "network": "$@network_def.to(@device)",
        "preprocessing": component(
            "Compose",
            transforms=[
                component("LoadImaged", keys="image", image_only=False),
                component("NormalizeIntensityd", keys="image", nonzero=True, channel_wise=True),
            ],
        ),
        "inferer": component(
            "SlidingWindowInferer", roi_size=[32, 32, 24], sw_batch_size=1, overlap=0.5
        ),
        "postprocessing": component("Compose", transforms=after),
    }


def one_channel() -> dict[str, Any]:
    """Return a configuration that resamples, and whose label is the highest of two channels."""
    key = "@image_key"
    return {
        **evaluation("$list(sorted(glob.glob(@dataset_dir + '/*.nii.gz')))"),
        "image_key": "image",
        "displayable_configs": {"highres": True, "overlap": 0.25},
        "pixdim": "$[2.0, 2.0, 2.0] if @displayable_configs#highres else [3.0, 3.0, 3.0]",
        "network_def": component(
            "UNet",
            spatial_dims=3,
            in_channels=1,
            out_channels=2,
            channels=[4, 8],
            strides=[2],
            num_res_units=1,
            norm="batch",
        ),
        "network": "$@network_def.to(@device)",
        "preprocessing": component(
            "Compose",
            transforms=[
                component("LoadImaged", keys=key),
                component("EnsureChannelFirstd", keys=key),
                component("Orientationd", keys=key, axcodes="RAS"),
                component("Spacingd", keys=key, pixdim="@pixdim", mode="bilinear"),
                component("ScaleIntensityd", keys=key, minv=0.0, maxv=1.0),
                component("EnsureTyped", keys=key, device="@device"),
            ],
        ),
        "inferer": component(
            "SlidingWindowInferer",
            roi_size=[16, 16, 16],
            sw_batch_size=4,
            overlap="@displayable_configs::overlap",
            mode="gaussian",
            padding_mode="replicate",
            device=DEVICE,
        ),
        "postprocessing": component(
            "Compose",
            transforms=[
                component("Activationsd", keys="pred", softmax=True),
                component(
                    "Invertd",
                    keys="pred",
                    transform="@preprocessing",
                    orig_keys=key,
                    nearest_interp=False,
                    to_tensor=True,
                ),
                component("AsDiscreted", keys="pred", argmax=True),
                component("SaveImaged", keys="pred", output_dir="@output_dir"),
            ],
        ),
    }


def _described(channels: list[str], kind: str) -> dict[str, Any]:
    return {
        "type": "image",
        "format": kind,
        "modality": "MR",
        "num_channels": len(channels),
        "spatial_shape": ["8*n", "8*n", "8*n"],
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": True,
        "channel_def": {str(index): channel for index, channel in enumerate(channels)},
    }


def metadata(inputs: list[str], outputs: list[str], **more: Any) -> dict[str, Any]:
    """Return metadata as the zoo writes it."""
    return {
        "schema": "https://example.org/meta_schema.json",
        "version": "0.4.2",
        "name": "A sentence for people",
        "task": "Multimodal segmentation",
        "description": "random weights, for tests",
        "copyright": "Copyright (c) of these tests",
        "intended_use": "tests",
        "network_data_format": {
            "inputs": {"image": _described(inputs, "magnitude")},
            "outputs": {"pred": _described(outputs, "segmentation")},
        },
        **more,
    }


FOUR_CHANNELS = metadata(
    ["T1c", "T1", "T2", "FLAIR"], ["Tumor core", "Whole tumor", "Enhancing tumor"]
)
ONE_CHANNEL = metadata(["image"], ["background", "lesion"])


def write_bundle(
    models: Path,
    name: str,
    described: dict[str, Any],
    configuration: dict[str, Any] | None = None,
    *,
    wrapped: bool = False,
) -> Path:
    """Write a bundle under ``models`` and return its folder.

    With a ``configuration`` its network gets random weights, as a bare state dict or, when
    ``wrapped``, as MONAI's trainers save it.
    """
    folder = models / name / str(described["version"])
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "metadata.json").write_text(json.dumps(described))
    if configuration is not None:
        (folder / "configs" / "inference.json").write_text(json.dumps(configuration))
        torch.manual_seed(1)
        network = Resolver(Configuration(configuration), {}).get("network_def")
        state = {"model": network.state_dict()} if wrapped else network.state_dict()
        torch.save(state, folder / "models" / "model.pt")
    return folder


def save_torchscript(network: torch.nn.Module, path: Path) -> None:
    """Save a network as TorchScript, which torch deprecates and users still have."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(network), path)
