"""``torch.export`` files, validated before torch reads them.

``torch.export.load`` trusts its file: it unpickles weights that are marked so, falls back to the
full unpickler for sample inputs, resolves operators attribute by attribute, passes symbolic sizes
to sympy's ``eval`` and guards to ``exec``, and loads compiled libraries. The files that
``torch.export.save`` writes for networks need none of that, so a file is loaded only if it contains
raw tensors, ATen operators, and sizes and guards that are plain arithmetic.
"""

import ast
import io
import json
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from shared.bundles.expressions import SOURCE, dotted
from shared.errors import ModelError
from worker.inference.forward_pass import Network
from worker.models.safe_load.torch_operators import OPERATORS
from worker.models.safe_load.zip_archive import pack, read_parts

_ENTRIES = re.compile(
    r"(archive_format|archive_version|byteorder|\.data/\w+|models/model\.json"
    r"|data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)|data/sample_inputs/model\.pt)"
)
_ATEN = re.compile(r"torch\.ops\.aten\.(\w+)\.\w+")
_FUNCTIONS = re.compile(
    r"torch\.sym_(float|int|ite|max|min|not|sum|sqrt)|math\.(ceil|floor|sqrt|trunc|pow|log2)"
    r"|_operator\.(add|sub|mul|truediv|floordiv|mod|pow|neg|pos|abs|eq|ne|lt|le|gt|ge|getitem"
    r"|and_|or_|not_|xor)"
)
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
_QUALIFIED = re.compile(r"([A-Za-z_][\w.]*)?")
_SYMPY = frozenset(
    """
    Symbol Integer Float Rational Add Mul Pow Max Min Mod PythonMod FloorDiv CleanDiv CeilDiv
    CeilToInt FloorToInt TruncToInt IntTrueDiv ToFloat Eq Ne Lt Le Gt Ge And Or Not Piecewise True
    False true false oo int_oo
    """.split()  # noqa: SIM905 - read as a list
)
_GUARD_ATTRIBUTES = frozenset({"size", "stride", "shape", "ndim", "dim"})
_ARITHMETIC = (
    ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div,
    ast.FloorDiv, ast.Mod, ast.UnaryOp, ast.Not, ast.USub, ast.Compare, ast.Eq, ast.NotEq, ast.Lt,
    ast.LtE, ast.Gt, ast.GtE, ast.Constant, ast.Name, ast.Load, ast.Call, ast.keyword,
)  # fmt: skip
#: Longest size or guard (characters), largest power in one, and largest program (bytes).
_MAX_EXPRESSION, _MAX_POWER, _MAX_PROGRAM_BYTES = 20_000, 16, 1 << 26
_CONTAINERS = ("builtins.tuple", "builtins.list", "builtins.dict", None)


def load_exported(path: Path, device: torch.device) -> Network:
    """Read an exported program and return it as a network on ``device``.

    Raises:
        ModelError: It is missing, not what torch.export writes, or not safe to load.
    """
    try:
        parts = read_parts(path.read_bytes())
        validate_parts(parts)
    except OSError as error:
        raise ModelError(f"there is no readable {path.name}.") from error
    except ModelError as error:
        raise ModelError(f"{path.name} is refused, for it is not safe: {error.detail}") from error
    try:
        program = torch.export.load(pack(parts))
        if device.type != "cpu":
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, device)
        network: Network = program.module()
    except Exception as error:  # another version of torch may raise anything
        raise ModelError(f"{path.name} cannot be loaded by torch {torch.__version__}.") from error
    return network


def validate_parts(parts: dict[str, bytes]) -> None:
    """Refuse an archive for which ``torch.export.load`` would run more than tensor operators.

    Args:
        parts: The archive's parts by their names.

    Raises:
        ModelError: What of it is not allowed, by name.
    """
    for name in parts:
        if not _ENTRIES.fullmatch(name):
            raise ModelError(f"it holds {name}, which a network does not need.")
    if any(len(part) > _MAX_PROGRAM_BYTES for name, part in parts.items() if name.endswith("json")):
        raise ModelError("its program is too long to be validated.")
    try:
        for kind in ("weights", "constants"):
            _validate_tensors(json.loads(parts[f"data/{kind}/model_{kind}_config.json"]))
        torch.load(io.BytesIO(parts["data/sample_inputs/model.pt"]), weights_only=True)
        _validate_program(json.loads(parts["models/model.json"]))
    except KeyError as error:
        raise ModelError(f"it lacks {error.args[0]}; save it with torch.export.save.") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError("it is not what torch.export.save writes.") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ModelError("its sample inputs are more than tensors.") from error


def _validate_tensors(config: dict[str, Any]) -> None:
    for name, entry in config["config"].items():
        if not _QUALIFIED.fullmatch(name) or entry.get("use_pickle") is not False:
            raise ModelError(f"its tensor {name} is pickled.")


def _validate_program(program: dict[str, Any]) -> None:
    for guard in program.get("guards_code") or []:
        _validate_arithmetic(guard, names=frozenset({"L"}))
    for key, value in _entries(program):
        if key in ("target", "as_operator") and isinstance(value, str):
            aten = _ATEN.fullmatch(value)
            if not (aten[1] in OPERATORS if aten else _FUNCTIONS.fullmatch(value)):
                raise ModelError(f"it calls {value}, which may not be used.")
        elif key == "expr_str":
            _validate_arithmetic(value, names=_SYMPY)
        elif key in ("name", "as_name") and isinstance(value, str):
            _require(_IDENTIFIER, value)
        elif key == "fqn" and isinstance(value, str):
            _require(_QUALIFIED, value)
        elif key == "forward_arg_names":
            for name in value or []:
                _require(_IDENTIFIER, name)
        elif key in ("in_spec", "out_spec"):
            _validate_container(json.loads(value)[1])


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key and value of a JSON document, except the metadata of nodes."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key != "metadata":
                yield key, inner
                yield from _entries(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _entries(inner)


def _validate_arithmetic(text: str, names: frozenset[str]) -> None:
    """Allow arithmetic and comparisons of sizes, and calls of listed names only."""
    if len(text) > _MAX_EXPRESSION:
        raise ModelError("one of its sizes or guards is too long.")
    try:
        tree = ast.parse(text, SOURCE, "eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ModelError("one of its sizes or guards is not an expression.") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and dotted(node.func) == ("Pow",):
            _validate_power(node)
        size = isinstance(node, ast.Attribute) and node.attr in _GUARD_ATTRIBUTES
        part = isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant)
        if not (size or part or isinstance(node, _ARITHMETIC)):
            raise ModelError(f"{type(node).__name__} may not be used in its sizes and guards.")
        if isinstance(node, ast.Name) and node.id not in names:
            raise ModelError(f"{node.id} may not be used in its sizes and guards.")
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            _require(_IDENTIFIER, node.value)


def _validate_power(call: ast.Call) -> None:
    """Allow small powers only, because sympy computes any power, however much memory it takes."""
    match call.args:
        case [_, ast.Constant(value=int() as power)] if power <= _MAX_POWER:
            return
        case [_, ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=1))]:
            return
        case [_, ast.Call(args=[ast.Constant(value=int() as power), *_])] if power <= _MAX_POWER:
            return
        case [_, ast.Call(args=[ast.UnaryOp(operand=ast.Constant(value=1)), *_])]:
            return
    raise ModelError("one of its sizes or guards is a power that is too large.")


def _validate_container(spec: dict[str, Any]) -> None:
    if spec["type"] not in _CONTAINERS:
        raise ModelError(f"its inputs are a {spec['type']}; a network takes tensors.")
    for name in json.loads(spec["context"] or "null") or []:
        _require(_IDENTIFIER, name)
    for child in spec["children_spec"]:
        _validate_container(child)


def _require(pattern: re.Pattern[str], name: object) -> None:
    if not isinstance(name, str) or not pattern.fullmatch(name):
        raise ModelError("it gives a part a name that is not an identifier.")
