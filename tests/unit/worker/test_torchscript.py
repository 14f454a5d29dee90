"""Operators that TorchScript may call: networks pass, calls that could leak a scan do not."""

import io
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.networks import nets
from torch import Tensor, nn

from shared.errors import ModelError
from tests.support.jobs import submission
from tests.support.loading import load_bundle
from tests.support.monai_bundles import metadata, write_bundle
from worker.models.safe_load.torch_operators import OPERATORS
from worker.models.safe_load.torchscript import validate_parts, validate_program, without_warnings
from worker.models.safe_load.zip_archive import pack, read_parts
from worker.pipeline.error_outcomes import outcome_of
from worker.pipeline.outcomes import Failed, LeasedJob

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "UNet": lambda: nets.UNet(3, 1, 2, (4, 8), (2,), num_res_units=1, dropout=0.1),
    "AttentionUnet": lambda: nets.AttentionUnet(3, 1, 2, (4, 8), (2,)),
    "BasicUNet": lambda: nets.BasicUNet(3, 1, 2, (4, 4, 8, 8, 16, 4)),
    "DynUNet": lambda: nets.DynUNet(3, 1, 2, [3, 3, 3], [1, 2, 2], [2, 2]),
    "SegResNet": lambda: nets.SegResNet(3, 8, 1, 2),
    "UNETR": lambda: nets.UNETR(
        1, 2, (32, 32, 32), hidden_size=48, mlp_dim=96, num_heads=4, feature_size=8
    ),
    "VNet": lambda: nets.VNet(3, 1, 2),
    "Attention": lambda: Attention(),
}


class Attention(nn.Module):
    """A network with torch's own attention, which warns."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        """Map ``[N, 1, D, H, W]`` to ``[N, D * H * W / 4, 4]``."""
        tokens = images.reshape(images.shape[0], -1, 4)
        attended: Tensor = self.attention(tokens, tokens, tokens)[0]
        return attended


@pytest.fixture(autouse=True)
def _old_torch() -> Iterator[None]:
    """Ignore torch's deprecation of TorchScript, and its warnings of sizes in traces."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def parts_of(network: torch.jit.ScriptModule) -> dict[str, bytes]:
    """Return the parts of the file that torch writes for a network."""
    buffer = io.BytesIO()
    torch.jit.save(network, buffer)
    return read_parts(buffer.getvalue())


@pytest.mark.parametrize("how", ["scripted", "traced"])
@pytest.mark.parametrize("name", NETWORKS)
def test_real_networks_pass_with_the_same_outputs(name: str, how: str) -> None:
    """Networks of MONAI and layers of torch call only operators on the list."""
    network = NETWORKS[name]().eval()
    image = torch.randn(1, 1, 32, 32, 32 if name != "Attention" else 4)[:, :, :32]
    with torch.no_grad():
        if how == "scripted":
            script = torch.jit.script(network)
        else:
            script = torch.jit.trace(network, image, check_trace=False)  # type: ignore[no-untyped-call]
        file = pack(validate_parts(parts_of(script)))
        loaded = torch.jit.load(file)  # type: ignore[no-untyped-call]
        torch.testing.assert_close(loaded(image), script(image))


def test_the_list_names_nothing_that_torch_lacks() -> None:
    """Every operator on the list exists, except some in-place ones: a typing error shows."""
    known = {schema.name.partition("::")[2] for schema in torch._C._jit_get_all_schemas()}
    plain = {name for name in OPERATORS if not name.endswith("_") or name.endswith("__")}
    assert plain <= known


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("torch.warn('x', 2) if True else None", "warn"),
        ("t = torch.warn(torch.format('{}', x), 2)", "warn"),
        ("ops.prim.Print(x)", "Print"),
        ("ops.aten.warn('x')", "warn"),
        ("ops.aten._print('x')", "_print"),
        ("x.warn('x')", "warn"),
        ("x.Print()", "Print"),
        ("f = torch.save", "torch.save"),
        ("f = ops.aten", "aten"),
        ("torch.hub.load('x')", "torch.hub.load"),
        ("torch.manual_seed(1)", "manual_seed"),
        ("ops.rpc.rpc_sync(x)", "rpc"),
        ("ops.profiler._record_function_enter('x')", "profiler"),
        ("__torch__.torch.classes.profiling._ScriptProfile()", "torch.classes"),
        ("print = x", "print"),
        ("hasattr(x, 'y')", "hasattr"),
        ("open('f')", "open"),
        ("[x][0]()", "without a name"),
        ("x.nothing_that_is_known()", "nothing_that_is_known"),
        ("y = getattr(x, 'warn')('x')", "getattr"),
    ],
)
def test_what_is_not_on_the_list_is_refused_by_name(body: str, named: str) -> None:
    """Printing, warnings, files, seeds, C++ classes and unknown operators are refused."""
    with pytest.raises(ModelError) as refusal:
        validate_program(f"def forward(self, x: Tensor) -> Tensor:\n  {body}\n  return x")
    assert named in refusal.value.detail


def test_a_method_cannot_hide_an_operator() -> None:
    """A file that defines a method `save` may not call it on a value that may be a tensor."""
    program = "class A(Module):\n  def save(self, x):\n    return x\n  def f(self, x):\n    x.{}(x)"
    with pytest.raises(ModelError, match=r"\.save"):
        validate_program(program.format("save"))
    validate_program(program.replace("save", "own").format("own"))


def test_objects_of_classes_in_c_are_refused() -> None:
    """Objects pickled beside the programs may not be of torch.classes either."""
    parts = {"code/x.py": b"", "data.pkl": b"c__torch__.torch.classes.profiling\nX\n."}
    with pytest.raises(ModelError, match=r"torch\.classes"):
        validate_parts(parts)


def test_a_statement_that_only_warns_is_removed() -> None:
    """The rest of the program, and its positions, stay unchanged."""
    program = "def f(x: Tensor):\n  torch.warn(torch.format('é {}', x), 2)\n  return x\n"
    quiet = without_warnings(program)
    assert len(quiet.encode()) == len(program.encode())
    assert quiet.split() == ["def", "f(x:", "Tensor):", "pass", "return", "x"]
    validate_program(quiet)


class Telltale(nn.Module):
    """A network that warns with the scan's values."""

    def forward(self, images: Tensor) -> Tensor:
        """Warn with the mean of the scan."""
        warnings.warn(f"the mean is {images.mean()}", stacklevel=2)
        return images


def test_a_network_that_warns_of_a_scan_is_silent(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A network that warns is served, and nothing of its warnings reaches the log."""
    folder = write_bundle(tmp_path, "telltale", metadata(["image"], ["lesion"]))
    torch.jit.save(torch.jit.script(Telltale()), folder / "models" / "model.ts")
    predictor = load_bundle(folder, device="cpu")
    predictor.warm_up()
    assert "mean" not in "".join(capfd.readouterr())


class Confession(nn.Module):
    """A network whose error has the scan's values; it passes the darker warm-up."""

    def forward(self, images: Tensor) -> Tensor:
        """Raise an error with the scan's values."""
        if float(images.mean()) > 100.0:
            raise ValueError(f"the mean is {images.mean()}, Jane Doe")
        return images


def test_the_message_of_a_networks_error_is_neither_logged_nor_returned(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of an error in TorchScript only the class and the place in VoxelQ are reported."""
    described = metadata(["image"], ["lesion"], normalization="none")
    folder = write_bundle(tmp_path, "confession", described)
    torch.jit.save(torch.jit.script(Confession()), folder / "models" / "model.ts")
    predictor = load_bundle(folder, device="cpu")
    predictor.warm_up()
    prepared = predictor.preprocess([(np.full((32, 32, 32), 200, np.float32), np.eye(4))])
    with pytest.raises(Exception, match="Jane Doe") as failure:
        predictor.predict([prepared])
    outcome = outcome_of(failure.value, LeasedJob(submission(), "execution", "queue", losses=1))
    assert isinstance(outcome, Failed)
    output = str(outcome) + "".join(capfd.readouterr())
    assert "was raised while this scan was computed" in output
    assert "Jane" not in output
    assert "200" not in output


def test_a_crash_is_logged_without_its_message() -> None:
    """An error that ends a worker is logged by class and place."""
    program = (
        "import sys; from worker.__main__ import _log_crash; sys.excepthook = _log_crash;"
        "raise ValueError('Jane' + ' Doe')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 1
    assert b"ValueError" in done.stdout + done.stderr
    assert b"Jane Doe" not in done.stdout + done.stderr
