"""What a bundle's configuration may contain; the rest is refused by name before it runs."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shared.bundles.allow_list import ALLOWED, full_name
from shared.bundles.config import Configuration
from shared.bundles.expressions import validate
from shared.errors import ModelError
from tests.support.monai_bundles import BRATS_LABELS, DEVICE, component, four_channels, one_channel
from worker.models.brain_tumor.network import UNet3D
from worker.models.monai.config_resolver import Resolver, locate

#: An expression, and the name that its refusal must contain.
ATTACKS = [
    ("$os.system('touch /tmp/x')", "os.system"),
    ("$__import__('os').system('x')", "__import__"),
    ("$open('/etc/passwd').read()", "open"),
    ("$eval('1')", "eval"),
    ("$exec('1')", "exec"),
    ("$getattr(torch, 'load')('x')", "getattr"),
    ("$setattr(torch, 'load', None)", "setattr"),
    ("$globals()", "globals"),
    ("$subprocess.run(['x'])", "subprocess.run"),
    ("$torch.load('x.pt')", "torch.load"),
    ("$torch.save(@network_def, 'x.pt')", "torch.save"),
    ("$torch.hub.load('someone/repo', 'model')", "torch.hub.load"),
    ("$torch.jit.load('x.ts')", "torch.jit.load"),
    ("$torch.utils.cpp_extension.load('x', ['x.cpp'])", "torch.utils.cpp_extension.load"),
    ("$torch.ops.load_library('x.so')", "torch.ops.load_library"),
    ("$torch.classes.load_library('x.so')", "torch.classes.load_library"),
    ("$torch.os.system('x')", "torch.os.system"),
    ("$torch.serialization.os.system('x')", "torch.serialization.os.system"),
    ("$torch.nn.functional.torch.load('x')", "torch.nn.functional.torch.load"),
    ("$torch.from_file('x')", "torch.from_file"),
    ("$torch.multiprocessing.spawn(print)", "torch.multiprocessing.spawn"),
    ("$torch.tensor([1]).numpy().tofile('x')", ".numpy"),
    ("$torch.tensor([1]).apply_(print)", ".apply_"),
    ("$torch.tensor([1]).__class__", ".__class__"),
    ("$().__class__.__bases__[0].__subclasses__()", ".__class__"),
    ("$(lambda: 0).__globals__", ".__globals__"),
    ("$(lambda x=torch.load: x)()('f')", "torch.load"),
    ("$[f for f in [torch.load]][0]('f')", "torch.load"),
    ("$[torch][0].load('f')", "torch"),
    ("$(lambda t: t)(torch)", "torch"),
    ("$(lambda torch: torch.load('f'))(1)", "torch"),
    ("$[monai for monai in [1]]", "monai"),
    ("$'{0.__class__}'.format(1)", ".format"),
    ("$f'{().__class__}'", "JoinedStr"),
    ("$(x := 1)", "NamedExpr"),
    ("$str.format", "str.format"),
    ("$monai.bundle.run('x')", "monai.bundle.run"),
    ("$monai.bundle.scripts.download('x')", "monai.bundle.scripts.download"),
    ("$monai.utils.module.load_submodules('x')", "monai.utils.module.load_submodules"),
    ("$monai.apps.utils.download_url('http://x')", "monai.apps.utils.download_url"),
    ("$monai.transforms.io.array.os.system('x')", "monai.transforms.io.array.os.system"),
    ("$monai.transforms.io.array.os.Compose", "monai.transforms.io.array.os.Compose"),
    ("$monai.networks.nets.torch.load('x')", "monai.networks.nets.torch.load"),
    ("$np.load('x.npy', allow_pickle=True)", "np.load"),
    ("$numpy.save('x.npy', 1)", "numpy.save"),
    ("$@network_def.load_state_dict", ".load_state_dict"),
    ("$@network_def.__init__.__globals__", ".__init__"),
    ("$_reference_0", "_reference_"),
    ("$print(1)", "print"),
    ("$1 if", "not an expression"),
    ("$import os", "not an expression"),
]

#: A ``_target_`` that no section may have.
TARGETS = [
    "os.system", "subprocess.run", "builtins.exec", "builtins.eval", "torch.load", "torch.hub.load",
    "torch.utils.cpp_extension.load_inline", "monai.bundle.run", "monai.bundle.load",
    "monai.bundle.ConfigParser", "monai.apps.download_and_extract", "monai.data.Dataset",
    "monai.utils.module.run_eval", "monai.transforms.WriteFileMappingd", "TorchVisiond",
    "DataStatsd", "FlexibleUNet", "HoVerNet", "EfficientNetBN", "importlib.import_module",
    "scripts.networks.MyNet", "pathlib.Path", "numpy.load", "shared.storage.store.ScanStore",
    "worker.models.brain_tumor.network.torch.load",
    "torch.nn.Module.load_state_dict", "", "$torch.load",
]  # fmt: skip


@pytest.mark.parametrize(("text", "named"), ATTACKS)
def test_an_expression_that_could_do_harm_is_refused_by_name(text: str, named: str) -> None:
    """An expression cannot use code, files, the network or Python's internals."""
    with pytest.raises(ModelError) as refusal:
        validate(text)
    assert named in refusal.value.detail


@pytest.mark.parametrize(
    "text",
    [
        BRATS_LABELS,
        DEVICE,
        "$@bundle_root + '/models'",
        "$[1.5, 1.5, 1.5] if @displayable#highres else [3.0, 3.0, 3.0]",
        "$@network_def.to(@device)",
        "$numpy.float32",
        "$[{'image': i} for i in @datalist]",
        "$lambda x: x.argmax(dim=0, keepdim=True).float()",
        "$torch.nn.functional.softmax(torch.zeros(2, 3), dim=0)[1:, ...]",
        "$monai.transforms.Compose([monai.transforms.ScaleIntensity()])",
        "$lambda x: torch.stack([(x == i).float() for i in range(1, 4)])",
    ],
)
def test_expressions_of_zoo_bundles_pass(text: str) -> None:
    """Arithmetic on tensors, references and MONAI's transforms are allowed."""
    validate(text)


@pytest.mark.parametrize("configuration", [four_channels(), one_channel()])
def test_a_zoo_configuration_passes_as_it_is(configuration: dict[str, Any]) -> None:
    """Data lists, handlers and evaluators may contain anything: they are never evaluated."""
    Configuration(configuration).validated()


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_that_is_not_listed_is_refused_by_name(target: str) -> None:
    """No section that is run may build a class that is not on the list, in any spelling."""
    for section in ("network_def", "inferer", "preprocessing", "postprocessing"):
        with pytest.raises(ModelError) as refusal:
            Configuration({section: component(target)}).validated()
        assert target in refusal.value.detail
        assert section in refusal.value.detail


@given(st.lists(st.from_regex(r"[A-Za-z_]\w{0,8}", fullmatch=True), min_size=1, max_size=4))
def test_every_name_resolves_to_a_listed_one_or_is_refused(parts: list[str]) -> None:
    """Every requested name resolves to a listed name or is refused."""
    for name in (".".join(parts), ".".join(["torch", *parts]), ".".join([*parts, "Compose"])):
        try:
            stands_for = full_name(name)
        except ModelError:
            continue
        assert stands_for in ALLOWED


def test_every_listed_name_exists() -> None:
    """Every name on the list exists in the installed torch and MONAI, so a typing error shows."""
    assert all(locate(name) is not None for name in ALLOWED)


@pytest.mark.parametrize(
    "section",
    [
        {"initialize": ["$os.system('x')"]},
        {"run": ["$__import__('os').system('x')"]},
        {"imports": ["$import os; os.system('x')"]},
        {"handlers": [component("subprocess.run", args=["x"])]},
        {"evaluator": component("builtins.exec")},
        {"datalist": "$eval('1')"},
        {"anything": {"deep": ["$().__class__.__base__.__subclasses__()"]}},
    ],
)
def test_hostile_parts_that_nothing_refers_to_cannot_be_built(section: dict[str, Any]) -> None:
    """A section that is not run is dropped when the rest is validated, and so cannot be built."""
    validated = Configuration({**one_channel(), **section}).validated()
    for name in section:
        assert name not in validated.sections
        with pytest.raises(ModelError, match="not there"):
            Resolver(validated, {}).get(name)


@pytest.mark.parametrize(
    "inferer",
    [
        "@initialize",
        component("SimpleInferer", hidden="$@initialize#0"),
        {"part": "@handlers#0"},
        {"_desc_": "$os.system('x')"},
        "@spare",
        {"spare": component("Identity", _disabled_=True, f="$open('x')")},
        component("LoadImage", f="$open('x')"),
        {"part": [component("LoadImage", keys="$open('x')")]},
    ],
)
def test_everything_that_can_be_resolved_is_validated(inferer: Any) -> None:
    """A hostile part is refused if the resolver could reach it from a section that is run."""
    hostile = {
        "initialize": ["$os.system('x')"],
        "handlers": [component("subprocess.run")],
        "spare": component("Identity", _disabled_=True, f="$open('x')"),
    }
    with pytest.raises(ModelError, match="may not be used"):
        Configuration({**one_channel(), **hostile, "inferer": inferer}).validated()


def test_a_component_that_is_skipped_in_a_list_may_have_any_content() -> None:
    """A disabled transform, or one that reads files, is not built; only its keys are used."""
    after = one_channel()["postprocessing"]["transforms"]
    after.append(component("SaveImaged", keys="pred", output_dir="$os.getcwd()"))
    after.append(component("anything.at.all", _disabled_=True))
    changed = {"postprocessing": component("Compose", transforms=after)}
    configuration = Configuration({**one_channel(), **changed}).validated()
    built = Resolver(configuration, {"device": torch.device("cpu")})
    assert len(built.get("postprocessing::transforms")) == 3


def test_the_own_network_is_known_by_its_earlier_name() -> None:
    """A bundle that names VoxelQ's network by its old module still builds it."""
    section = component("worker.network.UNet3D", channels=[4, 8])
    configuration = Configuration({**one_channel(), "network_def": section}).validated()
    assert isinstance(Resolver(configuration, {}).get("network_def"), UNet3D)
    with pytest.raises(ModelError):
        full_name("worker.network.torch.load")


def test_what_a_section_refers_to_is_validated_with_it() -> None:
    """An attack behind a reference, or behind a reference's reference, is found."""
    hidden = {"a": "$@b", "b": {"deep": [1, "$torch.load('x')"]}}
    with pytest.raises(ModelError, match=r"b::deep::1: torch\.load"):
        Configuration({**one_channel(), **hidden, "inferer": "@a"}).validated()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"inferer": "@nothing"}, "@nothing refers to something that is not there"),
        ({"inferer": {"_target_": "SimpleInferer", "_mode_": "debug"}}, "_mode_ 'debug'"),
        ({"inferer": {"_target_": 3}}, "_target_ is not a name"),
        ({"inferer": "%other.json::inferer"}, "a macro names a part of this file"),
        ({"inferer": "%inferer"}, "refer to themselves"),
    ],
)
def test_what_cannot_be_followed_is_refused(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    """A reference, mode or macro that leads nowhere is refused, with the file's name."""
    (tmp_path / "configs").mkdir()
    content = json.dumps({**one_channel(), **change})
    (tmp_path / "configs" / "inference.json").write_text(content)
    with pytest.raises(ModelError) as refusal:
        Configuration.read(tmp_path)
    assert words in refusal.value.detail
    assert "inference.json" in refusal.value.detail


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"a": 1e', "[" * 100_000])
def test_a_file_that_is_not_a_configuration_is_refused(tmp_path: Path, content: str) -> None:
    """Anything but a JSON object is refused with a reason."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "inference.json").write_text(content)
    with pytest.raises(ModelError, match=r"not readable JSON|not a JSON object|too deep"):
        Configuration.read(tmp_path)


def test_macros_are_replaced_and_references_shared() -> None:
    """A macro copies a part of the file; a reference is one object for all that refer to it."""
    configuration = Configuration(
        {"list": [1, {"x": 2}], "twice": ["@list", "@list#1::x"], "sum": "$@list#0 + @twice#1"}
    )
    resolver = Resolver(configuration, {})
    assert resolver.get("twice") == [[1, {"x": 2}], 2]
    assert resolver.get("twice#0") is resolver.get("list")
    assert resolver.get("sum") == 3


def test_a_part_that_refers_to_itself_is_refused() -> None:
    """A circle of references ends in a refusal, not in a stack overflow."""
    with pytest.raises(ModelError, match="refers to itself"):
        Resolver(Configuration({"a": "@b", "b": ["@a"]}), {}).get("a")


def test_only_what_is_asked_for_is_built() -> None:
    """A section that nothing refers to is never built."""
    configuration = Configuration({"wanted": 1, "other": "$torch.device('no such device')"})
    assert Resolver(configuration, {}).get("wanted") == 1
    with pytest.raises(ModelError, match="other cannot be evaluated"):
        Resolver(configuration, {}).get("other")
