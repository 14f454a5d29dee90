"""Bundles on disk: read again when they change, and never served while incomplete."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.bundles.available_models import AvailableModels
from shared.bundles.bundle import Bundle
from shared.bundles.catalog import ModelCatalog
from shared.bundles.files import WEIGHTS
from tests.support.bundles import METADATA, write_tiny_bundle

TINY = "tiny@1.0.0"
LONG_AGO = 1_000_000_000


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A complete bundle whose files are old."""
    return write_tiny_bundle(tmp_path / "models")


@pytest.fixture
def catalog(tmp_path: Path) -> ModelCatalog:
    """The catalogue of the test's folder."""
    return ModelCatalog([tmp_path / "models"])


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every file old."""
    monkeypatch.setattr("shared.bundles.bundle.time.time", lambda: os.stat("/").st_ctime + 10**9)


def only(catalog: ModelCatalog) -> Bundle:
    """Return the catalogue's one bundle."""
    (bundle,) = catalog.bundles()
    return bundle


def test_a_complete_bundle_is_served_at_once(
    whole: Path, catalog: ModelCatalog, tmp_path: Path
) -> None:
    """Every read has the present versions: one more after an addition, one less after a removal."""
    assert only(catalog).ref == TINY
    later = write_tiny_bundle(tmp_path / "models", "1.10.0")
    assert AvailableModels(catalog.bundles(), {}, "tiny").resolve().version == "1.10.0"
    later.rename(tmp_path / "elsewhere")
    assert AvailableModels(catalog.bundles(), {}, "tiny").resolve().folder == whole


def test_reading_unchanged_bundles_opens_no_file(
    whole: Path, catalog: ModelCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bundles are read once, and again when a file's size or time changes."""
    reads: list[Path] = []
    open_file = os.open

    def noted(path: Path, flags: int) -> int:
        reads.append(path)
        return open_file(path, flags)

    monkeypatch.setattr("shared.bundles.files.os.open", noted)
    first = only(catalog)
    assert reads
    reads.clear()
    assert only(catalog) is first
    assert reads == []
    os.utime(whole / "models" / "model.pt", (LONG_AGO, LONG_AGO))
    assert only(catalog).key != first.key
    assert reads


def test_a_cached_read_has_additions_and_removals(
    whole: Path, catalog: ModelCatalog, tmp_path: Path
) -> None:
    """A bundle that is added or removed shows at once, even if a cached read would be allowed."""
    assert catalog.bundles(max_age_s=1000) is catalog.bundles(max_age_s=1000)
    later = write_tiny_bundle(tmp_path / "models", "1.1.0")
    assert len(catalog.bundles(max_age_s=1000)) == 2
    later.rename(tmp_path / "elsewhere")
    assert len(catalog.bundles(max_age_s=1000)) == 1
    write_tiny_bundle(tmp_path / "models", name="other")
    assert len(catalog.bundles(max_age_s=1000)) == 2


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.usefixtures("still")
def test_weights_that_still_grow_are_not_served(
    whole: Path, catalog: ModelCatalog, weights: Path
) -> None:
    """At every length but the full one, an archive of weights is incomplete."""
    content = (whole / "models" / "model.pt").read_bytes()
    (whole / "models" / "model.pt").unlink()
    for part in (0, 1, 2, 100, len(content) // 2, len(content) - 30):
        (whole / weights).write_bytes(content[:part])
        bundle = only(catalog)
        assert bundle.card is None, part
        assert str(weights) in bundle.problem


def test_a_copy_under_way_is_incomplete_and_a_stalled_one_is_broken(
    whole: Path, catalog: ModelCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of files that changed a moment ago may be a copy under way; later it is reported."""
    path = whole / "models" / "model.pt"
    content = path.read_bytes()
    path.write_bytes(content[:1000])
    available = AvailableModels(catalog.bundles(), {}, "tiny")
    assert ([model.ref for model in available.arriving], available.broken) == ([TINY], [])
    monkeypatch.setattr("shared.bundles.bundle.time.time", lambda: path.stat().st_ctime + 11)
    available = AvailableModels(catalog.bundles(), {}, "tiny")
    assert (available.arriving, [model.ref for model in available.broken]) == ([], [TINY])
    path.write_bytes(content)
    assert only(catalog).card is not None


def test_weights_without_an_end_count_once_they_are_still(
    whole: Path, catalog: ModelCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is not an archive is served once it has not changed for a while.

    The times that a copy brings along do not count.
    """
    path = whole / "models" / "model.pt"
    path.write_bytes(b"\x80\x02 an old kind of file")
    os.utime(path, (LONG_AGO, LONG_AGO))
    bundle = only(catalog)
    assert bundle.card is None
    assert bundle.arriving
    monkeypatch.setattr("shared.bundles.bundle.time.time", lambda: path.stat().st_ctime + 3)
    assert only(catalog).card is not None


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "configs" / "metadata.json").unlink(), "metadata.json"),
        (lambda folder: (folder / "configs" / "metadata.json").write_text("{"), "metadata.json"),
        (lambda folder: (folder / "models" / "model.pt").unlink(), "model.pt"),
        (
            lambda folder: (folder / "models" / "model.pt").write_bytes(
                b"version https://git-lfs.github.com/spec/v1\noid sha256:0"
            ),
            "git lfs pull",
        ),
    ],
)
@pytest.mark.usefixtures("still")
def test_a_broken_bundle_has_a_reason(
    whole: Path, catalog: ModelCatalog, spoil: Callable[[Path], object], words: str
) -> None:
    """A bundle that cannot be served has its name, its version and a reason."""
    spoil(whole)
    (broken,) = AvailableModels(catalog.bundles(), {}, "tiny").broken
    assert broken.ref == TINY
    assert words in broken.reason
    assert str(whole) not in broken.reason


@pytest.mark.parametrize("name", ["../t1", "model", "priority", "a b", "", "t1/flair"])
@pytest.mark.usefixtures("still")
def test_an_input_must_be_nameable_as_a_form_field(
    tmp_path: Path, catalog: ModelCatalog, name: str
) -> None:
    """Names that would leave the store's folder or hide a parameter are refused."""
    write_tiny_bundle(tmp_path / "models", inputs=[{"name": name, "modality": "T1"}])
    assert only(catalog).card is None


@pytest.mark.usefixtures("still")
def test_two_folders_of_one_version_are_reported(
    whole: Path, catalog: ModelCatalog, tmp_path: Path
) -> None:
    """A folder copied without a change of its metadata is reported, and the first is served."""
    copy = write_tiny_bundle(tmp_path / "models", "1.1.0")
    (copy / "configs" / "metadata.json").write_text(json.dumps(METADATA))
    available = AvailableModels(catalog.bundles(), {}, "tiny")
    assert available.resolve().folder == whole
    ((ref, reason),) = [(model.ref, model.reason) for model in available.broken]
    assert ref == "tiny@1.1.0"
    assert "says tiny@1.0.0" in reason


@pytest.mark.usefixtures("still")
def test_a_bundle_without_a_version_folder_is_reported(whole: Path, catalog: ModelCatalog) -> None:
    """A bundle in the model zoo's own folder layout is reported with the folder it needs."""
    for path in list(whole.iterdir()):
        path.rename(whole.parent / path.name)
    (broken,) = AvailableModels(catalog.bundles(), {}, "tiny").broken
    assert broken.name == "tiny"
    assert "<name>/<version>/" in broken.reason


def test_hidden_folders_and_stray_files_are_ignored(
    whole: Path, catalog: ModelCatalog, tmp_path: Path
) -> None:
    """A bundle copied under a name with a leading dot is read only once it is renamed."""
    models = tmp_path / "models"
    hidden = write_tiny_bundle(tmp_path / "staged", "2.0.0").rename(models / "tiny" / ".2.0.0")
    (models / "README.md").write_text("no model")
    (models / "tiny" / "pictures").mkdir()
    assert only(catalog).ref == TINY
    hidden.rename(models / "tiny" / "2.0.0")
    assert {bundle.ref for bundle in catalog.bundles()} == {TINY, "tiny@2.0.0"}


@pytest.mark.usefixtures("still")
def test_the_first_folder_counts(whole: Path, tmp_path: Path) -> None:
    """Of two folders with one name and version the first counts, even if it is broken."""
    other = write_tiny_bundle(tmp_path / "own")
    two = ModelCatalog([tmp_path / "own", tmp_path / "models", tmp_path / "nowhere"])
    assert only(two).folder == other
    (other / "models" / "model.pt").write_bytes(b"")
    assert only(two).card is None
    assert only(ModelCatalog([tmp_path / "models"])).folder == whole


@pytest.mark.parametrize(("number", "arriving"), [(errno.EIO, True), (errno.EACCES, False)])
def test_a_file_that_cannot_be_read_for_a_while_is_read_again(
    catalog: ModelCatalog,
    whole: Path,
    still: None,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    arriving: bool,
) -> None:
    """A disk fault breaks no model, and the model is served once its files can be read."""

    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr("shared.bundles.files.os.open", fail)
        seen = only(catalog)
        assert seen.problem
        assert seen.arriving is arriving
    assert only(catalog).card is not None
