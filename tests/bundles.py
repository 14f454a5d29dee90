"""A small network with random weights, as a bundle on disk."""

import json
from pathlib import Path

import torch

from worker.network import UNet3D

METADATA = {
    "name": "tiny",
    "version": "1.0.0",
    "description": "random weights, for tests",
    "inputs": [{"name": "scan", "modality": "FLAIR"}],
    "labels": [{"value": 1, "name": "whole tumour"}],
    "license": "Apache-2.0",
    "intended_use": "tests",
    "network": {"in_channels": 1, "out_channels": 1, "channels": [4, 8]},
    "grid": {"shape": [48, 48, 48], "spacing_mm": 4.0},
    "mask": {"threshold": 0.5, "min_component_ml": 0.5},
    "presence": {"intercept": 0.0, "logit_weight": 1.0, "volume_weight": 0.0},
}


def write_tiny_bundle(models: Path) -> Path:
    """Write the bundle under ``models`` and return its folder."""
    folder = models / "tiny" / "1.0.0"
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "metadata.json").write_text(json.dumps(METADATA))
    torch.manual_seed(0)
    network = UNet3D(in_channels=1, out_channels=1, channels=(4, 8))
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    return folder
