"""Bundles of random weights: two compute a scan in milliseconds, one takes a fifth of a second."""

import json
from pathlib import Path
from typing import Any

QUICK, SLOW, OTHER = "quick", "slow", "other"
VERSION = "1.0.0"


def write_models(models: Path) -> None:
    """Write every bundle under ``models``; two of them are quick."""
    for name in (QUICK, OTHER):
        _write(models, name, edge=32, channels=[4, 8])
    _write(models, SLOW, edge=112, channels=[16, 32])


def write_broken_model(models: Path) -> Path:
    """Write a bundle that cannot be loaded, whole by its looks; return the model's folder."""
    folder = _write(models, "broken", edge=32, channels=[4, 8])
    (folder / "models" / "model.pt").write_bytes(b"PK\x03\x04 and no archive")
    return folder.parent


def weights(name: str) -> str:
    """Return what only the path of this model's weights contains."""
    return f"/{name}/{VERSION}/models/model.pt"


def _write(models: Path, name: str, *, edge: int, channels: list[int]) -> Path:
    # imported here: a benchmark's options are read without torch
    import torch

    from worker.models.brain_tumor.network import UNet3D

    network: dict[str, Any] = {"in_channels": 1, "out_channels": 1, "channels": channels}
    metadata = {
        "name": name,
        "version": VERSION,
        "description": "random weights, for faults",
        "inputs": [{"name": "scan", "modality": "FLAIR"}],
        "labels": [{"value": 1, "name": "whole tumour"}],
        "license": "Apache-2.0",
        "intended_use": "trying VoxelQ's faults",
        "network": network,
        "grid": {"shape": [edge] * 3, "spacing_mm": 4.0},
        "mask": {"threshold": 0.5, "min_component_ml": 0.5},
        "presence": {"intercept": 0.0, "logit_weight": 1.0, "volume_weight": 0.0},
    }
    folder = models / name / VERSION
    for part in ("configs", "models"):
        (folder / part).mkdir(parents=True)
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    torch.manual_seed(0)
    torch.save(UNet3D(**network).state_dict(), folder / "models" / "model.pt")
    return folder
