"""Functions that load bundles as a worker does, with options by keyword."""

from pathlib import Path
from typing import Any

from shared.bundles.contents import BundleContents
from worker.device.compute_options import ComputeOptions
from worker.models.brain_tumor.predictor import TumorPredictor
from worker.models.loader import Predictor, load_predictor


def load_bundle(folder: Path, **options: Any) -> Predictor:
    """Read the bundle in ``folder`` and load it; it may be of any kind."""
    return load_predictor(BundleContents.read(folder), ComputeOptions(**options))


def load_tumor_predictor(folder: Path, **options: Any) -> TumorPredictor:
    """Read the bundle in ``folder`` and load it as one with VoxelQ's own network."""
    return TumorPredictor.load(BundleContents.read(folder), ComputeOptions(**options))
