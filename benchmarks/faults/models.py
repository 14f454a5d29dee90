"""Bundles with random weights: two process a scan in milliseconds, one in a fifth of a second."""

from pathlib import Path
from typing import Any

from benchmarks.common.model_folders import VERSION, make_model_folder

QUICK, SLOW, OTHER = "quick", "slow", "other"


def write_models(models: Path) -> None:
    """Write every bundle under ``models``; two of them are quick."""
    for name in (QUICK, OTHER):
        _write(models, name, edge=32, channels=[4, 8])
    _write(models, SLOW, edge=112, channels=[16, 32])


def write_broken_model(models: Path) -> Path:
    """Write a bundle that looks complete but cannot be loaded; return the model's folder."""
    folder = _write(models, "broken", edge=32, channels=[4, 8])
    (folder / "models" / "model.pt").write_bytes(b"PK\x03\x04 and no archive")
    return folder.parent


def weights(name: str) -> str:
    """Return a part of a path that only this model's file of weights has."""
    return f"/{name}/{VERSION}/models/model.pt"


def _write(models: Path, name: str, *, edge: int, channels: list[int]) -> Path:
    # imported here, so that the command line is read without torch
    import torch

    from worker.models.brain_tumor.network import UNet3D

    network: dict[str, Any] = {"in_channels": 1, "out_channels": 1, "channels": channels}
    folder = make_model_folder(
        models,
        name,
        labels=[{"value": 1, "name": "whole tumour"}],
        network=network,
        grid={"shape": [edge] * 3, "spacing_mm": 4.0},
        mask={"threshold": 0.5, "min_component_ml": 0.5},
        presence={"intercept": 0.0, "logit_weight": 1.0, "volume_weight": 0.0},
    )
    torch.manual_seed(0)
    torch.save(UNet3D(**network).state_dict(), folder / "models" / "model.pt")
    return folder
