"""Small MONAI bundles with random weights."""

import json
from pathlib import Path
from typing import Any

import torch

from benchmarks.common.model_folders import make_model_folder
from shared.bundles.config import Configuration
from worker.models.monai.config_resolver import Resolver

#: The names of both bundles: one network runs on windows, the other on whole volumes.
WINDOWS, WHOLE = "windows", "whole-volumes"
#: The edge of a window in voxels, and how many windows share a forward pass.
WINDOW, WINDOWS_A_PASS = 48, 8


def write_bundles(models: Path, spacing_mm: float) -> None:
    """Write both bundles under ``models``: the same network and grid, with two inferers."""
    windows = _component(
        "SlidingWindowInferer",
        roi_size=[WINDOW] * 3,
        sw_batch_size=WINDOWS_A_PASS,
        overlap=0.25,
        mode="gaussian",
    )
    for name, inferer in ((WINDOWS, windows), (WHOLE, _component("SimpleInferer"))):
        configuration = _configuration(inferer, spacing_mm)
        labels = [{"value": value, "name": f"label {value}"} for value in (1, 2, 3)]
        folder = make_model_folder(models, name, labels=labels)
        (folder / "configs" / "inference.json").write_text(json.dumps(configuration))
        torch.manual_seed(0)
        network = Resolver(Configuration(configuration), {}).get("network_def")
        torch.save(network.state_dict(), folder / "models" / "model.pt")


def _component(target: str, **arguments: Any) -> dict[str, Any]:
    return {"_target_": target, **arguments}


def _configuration(inferer: dict[str, Any], spacing_mm: float) -> dict[str, Any]:
    before = [
        _component("LoadImaged", keys="image"),
        _component("Spacingd", keys="image", pixdim=[spacing_mm] * 3, mode="bilinear"),
        _component("DivisiblePadd", keys="image", k=8),
        _component("NormalizeIntensityd", keys="image", nonzero=True),
    ]
    after = [
        _component("AsDiscreted", keys="pred", argmax=True),
        _component(
            "Invertd",
            keys="pred",
            transform="@preprocessing",
            orig_keys="image",
            nearest_interp=True,
        ),
    ]
    return {
        "network_def": _component(
            "UNet",
            spatial_dims=3,
            in_channels=1,
            out_channels=4,
            channels=[8, 16, 32],
            strides=[2, 2],
            norm="batch",
        ),
        "preprocessing": _component("Compose", transforms=before),
        "inferer": inferer,
        "postprocessing": _component("Compose", transforms=after),
    }
