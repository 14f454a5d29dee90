"""The folder and the model card of a bundle that is made to be measured."""

import json
from pathlib import Path
from typing import Any

VERSION = "1.0.0"


def make_model_folder(models: Path, name: str, *, version: str = VERSION, **card: Any) -> Path:
    """Make the folders of a bundle under ``models`` and write its card; return its folder.

    ``card`` has the members that a model needs beside, or instead of, those of any model.
    """
    folder = models / name / version
    for part in ("configs", "models"):
        (folder / part).mkdir(parents=True)
    metadata = {
        "name": name,
        "version": version,
        "description": "made for a measurement",
        "inputs": [{"name": "scan", "modality": "FLAIR"}],
        "labels": [],
        "license": "Apache-2.0",
        "intended_use": "measuring VoxelQ",
        **card,
    }
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    return folder
