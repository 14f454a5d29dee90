"""TorchScript and exported networks: run as the metadata says, validated before loading."""

import io
import json
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from shared.errors import BadScan, ModelError
from tests.support.loading import load_bundle
from tests.support.monai_bundles import metadata, save_torchscript, write_bundle
from worker.models.exported.predictor import ExportedPredictor
from worker.models.exported.recipe import ExportedRecipe
from worker.models.safe_load.torch_export import validate_parts
from worker.models.safe_load.torchscript import validate_program
from worker.models.safe_load.zip_archive import pack, read_parts

AFFINE = np.array([[-1.0, 0, 0, 30], [0, 1.5, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1.0]])
SHAPE = (30, 24, 12)


class Bright(nn.Module):
    """Returns two logits for each voxel: the second is higher where the first channel is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.MaxPool3d(1)
        self.scale = nn.Parameter(torch.tensor(10.0))

    def forward(self, images: Tensor) -> Tensor:
        """Map ``[N, C, ...]`` to ``[N, 2, ...]``."""
        seen = self.pool(images[:, :1])
        return torch.cat([-self.scale * seen, self.scale * seen], dim=1)


def save_exported(network: nn.Module, path: Path) -> None:
    """Export a network for volumes of any size."""
    free = torch.export.Dim.DYNAMIC
    sizes = {"images": {2: free, 3: free, 4: free}}
    program = torch.export.export(network, (torch.randn(1, 1, 16, 18, 20),), dynamic_shapes=sizes)
    torch.export.save(program, path)


SAVERS: dict[str, Callable[[nn.Module, Path], None]] = {
    "model.ts": save_torchscript,
    "model.pt2": save_exported,
}


def bundle(root: Path, file: str = "model.ts", **more: Any) -> Path:
    """Write a bundle whose network marks bright voxels."""
    described = metadata(["image"], ["background", "lesion"], **more)
    folder = write_bundle(root, "bright", described)
    SAVERS[file](Bright().eval(), folder / "models" / file)
    return folder


def scan() -> np.ndarray:
    """A bright block in a darker one, with zeros around."""
    data = np.zeros(SHAPE, np.float32)
    data[4:26, 4:20, 2:10] = 50
    data[10:20, 8:16, 4:8] = 200
    return data


@pytest.mark.parametrize("file", SAVERS)
@pytest.mark.parametrize(
    "described",
    [
        {},
        {"spacing": [2.0, 2.0, 2.0]},
        {"spacing": [2.0, 2.0, 2.0], "orientation": "RAS", "spatial_shape": [16, 16, 16]},
        {"orientation": "SPL", "spatial_shape": [8, 8, 8], "normalization": "z-score"},
    ],
)
def test_what_is_bright_is_marked_in_the_scan_s_grid(
    tmp_path: Path, file: str, described: dict[str, Any]
) -> None:
    """For each grid and window in the metadata, the mask is at the bright block of the scan."""
    predictor = load_bundle(bundle(tmp_path, file, **described), device="cpu", threads=1)
    assert isinstance(predictor, ExportedPredictor)
    predictor.warm_up()
    data = scan()
    prepared = predictor.preprocess([(data, AFFINE)])
    (answer,) = predictor.predict([prepared])
    found = predictor.postprocess(prepared, answer)
    assert found.mask.shape == SHAPE
    truth = data > 100
    if described.get("normalization") == "z-score":
        truth = data > 0  # over all voxels the mean is low, so that the whole head is bright
    marked = found.mask.astype(bool)
    assert 2 * (marked & truth).sum() / (marked.sum() + truth.sum()) > 0.75
    centre = np.argwhere(marked).mean(axis=0) - np.argwhere(truth).mean(axis=0)
    assert np.abs(centre).max() < 0.5
    assert [label.name for label in found.labels] == ["lesion"]
    assert found.probability > 0.9


def test_one_channel_is_one_region(tmp_path: Path) -> None:
    """A network of one output marks its label where the probability is above one half."""
    folder = write_bundle(tmp_path, "single", metadata(["image"], ["lesion"]))
    save_torchscript(nn.Conv3d(1, 1, 1), folder / "models" / "model.ts")
    predictor = load_bundle(folder, device="cpu")
    prepared = predictor.preprocess([(scan(), AFFINE)])
    answer = torch.where(prepared.image > 1, 4.0, -4.0)
    mask = predictor.postprocess(prepared, answer).mask
    np.testing.assert_array_equal(mask, (scan() > 100).astype(np.uint8))


def test_normalisation_is_per_channel_and_survives_flat_ones() -> None:
    """Non-zero voxels of each channel have mean 0 and deviation 1; a flat channel becomes zeros."""
    image = torch.zeros(2, 4, 4, 4)
    image[0, :2] = torch.randn(2, 4, 4) + 7
    normalised = ExportedRecipe().normalised(image)
    inside = normalised[0][image[0] != 0]
    assert float(inside.mean()) == pytest.approx(0, abs=1e-4)
    assert float(inside.std(correction=0)) == pytest.approx(1, abs=1e-4)
    assert not normalised[0][image[0] == 0].any()
    for way in ("z-score-nonzero", "z-score", "unit-range"):
        assert not ExportedRecipe(normalization=way).normalised(image)[1].any()
    assert float(ExportedRecipe(normalization="unit-range").normalised(image)[0].max()) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"spacing": [0, 1, 1]},
        {"orientation": "RAX"},
        {"orientation": "RLS"},
        {"spatial_shape": ["any", 8, 8]},
        {"spatial_shape": [0, 8, 8]},
        {"overlap": 1.0},
        {"normalization": "magic"},
    ],
)
def test_impossible_metadata_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """Wrong metadata is refused when the bundle is loaded."""
    with pytest.raises(ModelError, match="cannot be run"):
        load_bundle(bundle(tmp_path, **wrong), device="cpu")


def test_a_folder_without_a_network_is_refused(tmp_path: Path) -> None:
    """A bundle with a card and no network is refused with the files that a bundle needs."""
    folder = write_bundle(tmp_path, "empty", metadata(["image"], ["lesion"]))
    with pytest.raises(ModelError, match=r"inference\.json.*model\.ts.*model\.pt2"):
        load_bundle(folder, device="cpu")


@pytest.mark.parametrize(
    ("program", "named"),
    [
        ("def forward(self, x):\n  torch.save(x, 'f')\n  return x", ".save"),
        ("def forward(self, x):\n  x.save('f')\n  return x", ".save"),
        ("def forward(self, x):\n  return torch.from_file('f')", ".from_file"),
        ("def __setstate__(self, x):\n  t = torch\n  t.save(x, 'f')", "torch"),
        ("def forward(self, x):\n  return ops.evil.run(x)", "ops.evil"),
        ("def forward(self, x):\n  o = ops\n  return o.evil.run(x)", "ops"),
        ("def forward(self, x):\n  print(x)\n  return x", "print"),
        ("def forward(self, x):\n  return getattr(x, 'save')('f')", "getattr"),
        ("def forward(self, x):\n  g = getattr\n  return g(x, 'save')", "getattr"),
        ("import os", "imports"),
        ("def forward(self x", "cannot be parsed"),
    ],
)
def test_torchscript_that_does_more_than_compute_is_refused(program: str, named: str) -> None:
    """A program that uses files, prints, or calls unknown operators is refused by name."""
    with pytest.raises(ModelError) as refusal:
        validate_program(program)
    assert named in refusal.value.detail


class Writer(nn.Module):
    """A network that would write the scan to a file."""

    def forward(self, images: Tensor) -> Tensor:
        """Write the scan to a file."""
        torch.save(images, "seen.pt")
        return images


def test_a_network_that_writes_files_is_not_even_loaded(tmp_path: Path) -> None:
    """Real TorchScript with a file operator in it is refused at load."""
    folder = write_bundle(tmp_path, "writer", metadata(["image"], ["lesion"]))
    save_torchscript(Writer(), folder / "models" / "model.ts")
    with pytest.raises(ModelError, match=r"\.save"):
        load_bundle(folder, device="cpu")


@pytest.mark.parametrize("content", [b"", b"not a network", pickle.dumps({"a": 1})])
@pytest.mark.parametrize("file", SAVERS)
def test_a_file_that_is_no_network_is_refused(tmp_path: Path, file: str, content: bytes) -> None:
    """A file of another format is refused with a reason."""
    folder = write_bundle(tmp_path, "broken", metadata(["image"], ["lesion"]))
    (folder / "models" / file).write_bytes(content)
    with pytest.raises(ModelError, match=rf"{file} is (not|refused)"):
        load_bundle(folder, device="cpu")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The parts of a valid exported program."""
    path = tmp_path_factory.mktemp("exported") / "model.pt2"
    save_exported(Bright().eval(), path)
    return read_parts(path.read_bytes())


def zipped(entries: list[tuple[str, bytes]]) -> bytes:
    """Return an archive of ``entries``, whose names may repeat."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as opened:
        warnings.simplefilter("ignore", UserWarning)  # of a repeated name
        for name, content in entries:
            opened.writestr(name, content)
    return buffer.getvalue()


def changed(parts: dict[str, bytes], end: str, old: str, new: str) -> dict[str, bytes]:
    """Return the parts with a text replaced in the part whose name ends with ``end``."""
    name = next(name for name in parts if name.endswith(end))
    assert old.encode() in parts[name]
    return {**parts, name: parts[name].replace(old.encode(), new.encode(), 1)}


@pytest.mark.parametrize(
    "entries",
    [
        [("a/code/x.py", b"good"), ("a/code/x.py", b"bad")],
        [("a/code/x.py", b"good"), ("a/CODE/X.py", b"bad")],
        [("a/code/x.py", b"good"), ("b/code/y.py", b"bad")],
    ],
)
def test_an_archive_that_can_be_read_in_two_ways_is_refused(
    entries: list[tuple[str, bytes]],
) -> None:
    """Names that differ only in case, repeated names and several top folders are refused."""
    with pytest.raises(ModelError, match="one name, or in several folders"):
        read_parts(zipped(entries))


def test_what_is_loaded_is_what_was_validated() -> None:
    """The archive that is loaded has the validated parts only."""
    parts = {"code/x.py": b"good", "data.pkl": b"1"}
    content = b"before" + zipped([(f"a/{name}", part) for name, part in parts.items()])
    again = pack(read_parts(content))
    assert read_parts(again.read()) == parts
    assert b"before" not in again.getvalue()


def test_a_valid_archive_passes(archive: dict[str, bytes]) -> None:
    """An archive of torch.export.save passes."""
    validate_parts(archive)


@pytest.mark.parametrize(
    ("end", "old", "new", "named"),
    [
        ("model.json", "torch.ops.aten.cat.default", "torch.hub.load", "torch.hub.load"),
        ("model.json", "torch.ops.aten.cat.default", "torch.ops.aten.from_file.out", "from_file"),
        ("model.json", "torch.ops.aten.cat.default", "torch.serialization.os.system", "os.system"),
        ("model.json", "torch.ops.aten.cat.default", "_operator.methodcaller", "methodcaller"),
        ("model.json", "torch.ops.aten.cat.default", "math.__loader__", "__loader__"),
        ("model.json", '"expr_str": "', '"expr_str": "__import__(\'os\') + ', "__import__"),
        ("model.json", '"expr_str": "', '"expr_str": "().__class__ + ', "Attribute"),
        ("model.json", '"guards_code": []', '"guards_code": ["exec(\'1\')"]', "exec"),
        ("model.json", '"name": "images"', '"name": "images, x=exec(1)"', "not an identifier"),
        ("model.json", "builtins.tuple", "collections.defaultdict", "collections.defaultdict"),
        ("model_weights_config.json", '"use_pickle": false', '"use_pickle": true', "is pickled"),
    ],
)  # fmt: skip
def test_an_archive_that_would_run_something_is_refused(
    archive: dict[str, bytes], end: str, old: str, new: str, named: str
) -> None:
    """Unknown operators, pickles, and code in sizes, guards and names are refused by name."""
    with pytest.raises(ModelError) as refusal:
        validate_parts(changed(archive, f"/{end}", old, new))
    assert named in refusal.value.detail


def test_foreign_parts_of_an_archive_are_refused(archive: dict[str, bytes]) -> None:
    """A compiled library, a pickled sample or a missing part is refused."""
    library = {**archive, "data/aotinductor/model/x.so": b"\x7fELF"}
    with pytest.raises(ModelError, match="aotinductor"):
        validate_parts(library)
    buffer = io.BytesIO()
    torch.save(Path("x"), buffer)
    sample = {**archive, "data/sample_inputs/model.pt": buffer.getvalue()}
    with pytest.raises(ModelError, match="sample inputs"):
        validate_parts(sample)
    lacking = {name: part for name, part in archive.items() if not name.endswith("model.json")}
    with pytest.raises(ModelError, match=r"lacks models/model\.json"):
        validate_parts(lacking)


def test_the_validated_archive_is_what_torch_writes(archive: dict[str, bytes]) -> None:
    """The tested program has nodes, guards and sizes, so that there is something to validate."""
    name = next(name for name in archive if name.endswith("/model.json"))
    program = json.loads(archive[name])
    assert len(program["graph_module"]["graph"]["nodes"]) > 3
    assert "expr_str" in archive[name].decode()


def test_a_spacing_that_would_fill_the_memory_is_refused() -> None:
    """A scan of 512³ voxels of 10 mm at a spacing of 1 mm is refused before its grid is made."""
    recipe = ExportedRecipe(spacing=(1.0, 1.0, 1.0))
    with pytest.raises(BadScan, match="5120 x 5120 x 5120 voxels"):
        recipe.grid((512, 512, 512), np.diag([10.0, 10.0, 10.0, 1.0]))
    shape, _ = recipe.grid((512, 512, 1000), np.diag([0.7, 0.7, 1.5, 1.0]))
    assert shape == (359, 359, 1500)
