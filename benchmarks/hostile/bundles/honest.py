"""The parts of an honest bundle, and the way that a bundle is written to its folder."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: The smallest valid model card.
CARD: dict[str, Any] = {
    "name": "hostile",
    "version": "1.0.0",
    "description": "none",
    "inputs": [{"name": "scan", "modality": "FLAIR"}],
    "labels": [{"value": 1, "name": "lesion"}],
    "license": "none",
    "intended_use": "tests",
}
#: Metadata as the bundles of MONAI's model zoo have it.
ZOO: dict[str, Any] = {
    "version": "1.0.0",
    "name": "A sentence for people",
    "network_data_format": {
        "inputs": {"image": {"num_channels": 1, "channel_def": {"0": "image"}}},
        "outputs": {"pred": {"num_channels": 2, "channel_def": {"0": "background", "1": "lesion"}}},
    },
}
#: A configuration that MONAI can run.
CONFIGURATION: dict[str, Any] = {
    "network_def": {
        "_target_": "UNet",
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": 2,
        "channels": [4, 8],
        "strides": [2],
    },
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16]},
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [{"_target_": "LoadImaged", "keys": "image"}],
    },
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [{"_target_": "AsDiscreted", "keys": "pred", "argmax": True}],
    },
}

#: Writes one bundle into its folder.
Write = Callable[[Path], None]


def zip_archive(parts: dict[str, bytes], *, compressed: bool = False) -> bytes:
    """Return a zip archive of ``parts``, contents by name."""
    buffer = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def write_bundle(
    folder: Path,
    metadata: str | bytes,
    configuration: str | bytes | None = None,
    weights: tuple[str, bytes] = ("model.pt", zip_archive({})),
) -> None:
    """Write a bundle; ``weights`` are the name of the file and its content."""
    for part in ("configs", "models"):
        (folder / part).mkdir()
    _write(folder / "configs" / "metadata.json", metadata)
    if configuration is not None:
        _write(folder / "configs" / "inference.json", configuration)
    _write(folder / "models" / weights[0], weights[1])


def _write(path: Path, content: str | bytes) -> None:
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogatepass")
    path.write_bytes(content)
