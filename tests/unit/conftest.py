"""What tests of the command line lean on."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.tiny_service import TinyService, serving


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[TinyService]:
    """A service of the test's own, which the command line finds."""
    with serving() as tiny:
        monkeypatch.setenv("VOXELQ_URL", tiny.url)
        yield tiny


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A file with a name that tells too much."""
    path = tmp_path / "mary-smith.nii.gz"
    path.write_bytes(gzip.compress(b"voxels" * 1000))
    return path
