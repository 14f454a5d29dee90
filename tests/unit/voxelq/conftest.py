"""Fixtures for tests of the command line."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.tiny_service import TinyService, serving


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[TinyService]:
    """A service of this test, whose address is in VOXELQ_URL."""
    with serving() as tiny:
        monkeypatch.setenv("VOXELQ_URL", tiny.url)
        yield tiny


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A file whose name is a patient's."""
    path = tmp_path / "mary-smith.nii.gz"
    path.write_bytes(gzip.compress(b"voxels" * 1000))
    return path
