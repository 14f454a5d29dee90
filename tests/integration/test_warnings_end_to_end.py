"""What the default kind of model warns of, from the submitted file to the client's result."""

from pathlib import Path

import httpx
import numpy as np
import pytest

from shared.sample import SAMPLE_SCAN
from shared.settings import Settings
from tests.support.api_server import ApiServer
from tests.support.bundles import write_tiny_bundle
from tests.support.scans import gz, nifti
from tests.support.worker_process import worker_process
from voxelq import Client


@pytest.fixture
def settings(settings: Settings, models_dir: Path) -> Settings:
    """Settings whose default model is a tiny one for FLAIR."""
    write_tiny_bundle(models_dir)
    return settings.model_copy(update={"default_model": "tiny"})


async def test_a_scan_that_is_no_brain_finishes_with_a_warning(
    client: httpx.AsyncClient, server: ApiServer, settings: Settings, tmp_path: Path
) -> None:
    """A label map's job carries the warning on HTTP and in Python; a head's has none."""
    labels = np.zeros((40, 48, 40), dtype=np.int16)
    labels[8:32, 8:40, 8:32] = 1
    labels[12:28, 12:36, 12:28] = 2
    label_map = tmp_path / "labels.nii.gz"
    label_map.write_bytes(gz(nifti(labels, affine=np.diag([5.0, 5.0, 5.0, 1.0]))))
    with worker_process(settings, tmp_path / "log"):
        nonsense, head = [
            (await client.post("/predict", files={"scan": path.read_bytes()})).json()
            for path in (label_map, SAMPLE_SCAN)
        ]
        assert nonsense["status"] == head["status"] == "finished"
        (warning,) = nonsense["result"]["warnings"]
        assert warning["code"] == "not-flair-like"
        assert "as a label map has" in warning["detail"]
        assert head["result"]["warnings"] == []
        with Client(server.url) as voxelq:
            assert [found.code for found in voxelq.predict(label_map).warnings] == [
                "not-flair-like"
            ]
            assert voxelq.predict(SAMPLE_SCAN).warnings == ()
