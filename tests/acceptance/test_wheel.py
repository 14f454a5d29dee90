"""A base install from the wheel: the Python client and the commands that call a service."""

import zipfile
from pathlib import Path

import pytest

from tests.support.tiny_service import job, serving
from tests.support.wheel import Installation, build_wheel, install


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def base(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """An installation without extras."""
    return install(tmp_path_factory.mktemp("base"), wheel)


def test_the_wheel_has_all_that_the_service_reads(wheel: Path) -> None:
    """Models, scripts, pages and the sample scan are in the wheel, developers' tools are not."""
    names = zipfile.ZipFile(wheel).namelist()
    for name in (
        "shared/bundled_models/brain-tumor/1.0.0/configs/metadata.json",
        "shared/bundled_models/brain-tumor/1.0.0/models/model.pt",
        "shared/data/sample_flair.nii.gz",
        "shared/queue/lua/submit.lua",
        "api/web/index.html",
        "voxelq/py.typed",
    ):
        assert name in names
    top = {name.partition("/")[0] for name in names if ".dist-info" not in name}
    assert top == {"api", "planning", "shared", "voxelq", "worker"}


def test_a_base_install_has_nothing_of_the_service(base: Installation) -> None:
    """A base install has no packages for queue, arrays and networks."""
    unwanted = {"fastapi", "fsspec", "nibabel", "numpy", "redis", "rq", "structlog", "torch"}
    assert base.packages & unwanted == set()


def test_a_base_install_is_a_client(base: Installation, tmp_path: Path) -> None:
    """The package can be imported, and the commands submit a scan."""
    assert base.run("python", "-c", "import voxelq", here=tmp_path) == (0, "")
    code, words = base.run("voxelq", "--help", here=tmp_path)
    assert code == 0
    assert "submit" in words
    assert base.run("voxelq", "sample", "scan.nii.gz", here=tmp_path)[0] == 0
    with serving() as service:
        service.on("POST", "/jobs", 202, job("01ABC"))
        service.on("GET", "/jobs/01ABC", 200, job("01ABC", "finished"))
        command = ("voxelq", "submit", "scan.nii.gz", "--wait")
        code, words = base.run(*command, here=tmp_path, VOXELQ_URL=service.url)
    assert code == 0
    assert "finished" in words
    assert service.requests[0].body == (tmp_path / "scan.nii.gz").read_bytes()


@pytest.mark.parametrize("command", ["up", "demo", "api", "worker", "doctor", "recover"])
def test_what_needs_the_service_says_so(base: Installation, tmp_path: Path, command: str) -> None:
    """A command that a base install cannot run prints what to install, in one line."""
    code, words = base.run("voxelq", command, here=tmp_path)
    assert code == 2
    assert len(words.splitlines()) == 1
    assert f"`voxelq {command}` needs the service" in words
    assert "pip install 'voxelq[" in words
