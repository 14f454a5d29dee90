"""Small networks with random weights, as bundles on disk."""

import json
import zipfile
from pathlib import Path
from typing import Any

METADATA: dict[str, Any] = {
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


def write_tiny_bundle(models: Path, version: str = "1.0.0", **changes: Any) -> Path:
    """Write the bundle under ``models`` and return its folder; ``changes`` are of its metadata."""
    # imported here, for most tests need no network
    import torch

    from worker.models.brain_tumor.network import UNet3D

    metadata = {**METADATA, "version": version, **changes}
    folder = models / str(metadata["name"]) / version
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    torch.manual_seed(0)
    network = UNet3D(**metadata["network"])
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    return folder


def write_empty_weights(folder: Path) -> None:
    """Give the bundle in ``folder`` a complete file of weights without a tensor."""
    (folder / "models").mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "models" / "model.pt", "w"):
        pass


def write_two_channel_bundle(models_dir: Path) -> str:
    """Write version 2.0.0 of a model with the inputs t1 and flair; return its name."""
    configs = models_dir / "two-channels" / "2.0.0" / "configs"
    configs.mkdir(parents=True)
    single = json.loads((models_dir / "test-model/1.0.0/configs/metadata.json").read_text())
    inputs = [{"name": "t1", "modality": "T1"}, {"name": "flair", "modality": "FLAIR"}]
    card = single | {"name": "two-channels", "version": "2.0.0", "inputs": inputs}
    (configs / "metadata.json").write_text(json.dumps(card))
    write_empty_weights(configs.parent)
    return "two-channels"


def drop(source: Path, models: Path) -> Path:
    """Move the bundle ``source`` under ``models`` atomically, as the documentation advises."""
    name, version = source.parent.name, source.name
    (models / name).mkdir(parents=True, exist_ok=True)
    return source.rename(models / name / version)
