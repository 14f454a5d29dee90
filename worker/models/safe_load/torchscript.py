"""TorchScript files, validated by their text before torch reads them.

``torch.jit.load`` runs no Python: a file contains programs in TorchScript's own small language, and
its pickled parts are read by an unpickler that knows only tensors, containers and those programs'
classes. But the language can write files, print and log warnings (which may quote a scan), call
operators that other libraries registered, and create objects of C++ classes; and a module's
``__setstate__`` runs while it is loaded. So every program is parsed first, and may call only what
is listed: torch's operators that compute, and what the file itself defines.
"""

import ast
import warnings
from functools import cache
from pathlib import Path
from typing import TypeGuard

import torch

from shared.bundles.allow_list import words
from shared.bundles.expressions import SOURCE, dotted
from shared.errors import ModelError
from worker.models.safe_load.torch_operators import OPERATORS
from worker.models.safe_load.zip_archive import pack, read_parts

#: Largest program (bytes). That of a network of hundreds of layers has 300 KB.
_MAX_PROGRAM_BYTES = 4 << 20
_OPERATOR_FAMILIES = frozenset({"aten", "prim"})
#: Names of torch itself, allowed only at the beginning of a dotted name.
_ROOTS = frozenset({"torch", "ops"})
#: Names that TorchScript knows without a definition, and that may be used.
_KNOWN_NAMES = words("""
    AnyType Any CONSTANTS Device Dict Final Future Generator List Module NamedTuple NoneType
    Optional Tensor Tuple Union __annotations__ __torch__ abs all annotate any bool complex dict
    divmod enumerate float getattr inf infj int isinstance len list max min nan nanj number ops
    range reversed sorted str sum torch tuple unchecked_cast uninitialized zip Enum Interface
    Scalar Layout ScalarType MemoryFormat object super self
""")
#: Other names that TorchScript knows. A program may not even have a variable of such a name,
#: because elsewhere in the program the name would not mean the variable.
_FORBIDDEN_NAMES = frozenset({"print", "fork", "awaitable", "rpc_async", "rpc_remote", "rpc_sync"})
#: Classes in C++ that libraries register.
_FOREIGN_CLASSES = ("__torch__", "torch", "classes")


def load_torchscript(path: Path) -> torch.jit.ScriptModule:
    """Read a TorchScript network onto the CPU.

    Raises:
        ModelError: It is missing, not TorchScript, or could do more than compute.
    """
    try:
        parts = read_parts(path.read_bytes())
    except OSError as error:
        raise ModelError(f"there is no readable {path.name}.") from error
    except ModelError as error:
        raise ModelError(f"{path.name} is not a TorchScript file: {error.detail}") from error
    validated = validate_parts(parts)
    if validated == parts and not any(_is_program(name) for name in parts):
        raise ModelError(f"{path.name} is not a TorchScript file: it holds no program.")
    try:
        with warnings.catch_warnings():
            # torch recommends torch.export instead, but existing files are TorchScript.
            warnings.simplefilter("ignore", DeprecationWarning)
            network = torch.jit.load(pack(validated), map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{path.name} cannot be loaded by torch {torch.__version__}.") from error
    loaded: torch.jit.ScriptModule = network.eval()
    return loaded


def validate_parts(parts: dict[str, bytes]) -> dict[str, bytes]:
    """Return an archive's parts without warnings; refuse programs that could do more than compute.

    Raises:
        ModelError: The name of what is not allowed.
    """
    if any(b"torch.classes" in part for name, part in parts.items() if name.endswith(".pkl")):
        raise ModelError("its TorchScript holds objects of torch.classes, which may not be used.")
    programs = {
        name: without_warnings(part.decode("utf-8", errors="replace"))
        for name, part in parts.items()
        if _is_program(name)
    }
    trees = [_parsed(program) for program in programs.values()]
    defined = frozenset().union(*(_definitions(tree) for tree in trees))
    for tree in trees:
        _validate(tree, defined)
    return parts | {name: program.encode() for name, program in programs.items()}


def validate_program(text: str) -> None:
    """Refuse a program in TorchScript that could do more than compute.

    Raises:
        ModelError: The name of what is not allowed.
    """
    tree = _parsed(text)
    _validate(tree, _definitions(tree))


def without_warnings(text: str) -> str:
    """Return a program in which statements that only warn are blanked; all else keeps its place.

    Parts of torch itself warn, for example its attention; a warning could quote what was computed.

    Raises:
        ModelError: It cannot be parsed.
    """
    lines = text.encode().split(b"\n")
    for node in ast.walk(_parsed(text)):
        if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
            continue
        if dotted(node.value.func) != ("torch", "warn") or node.lineno != node.end_lineno:
            continue
        line = lines[node.lineno - 1]
        length = (node.end_col_offset or 0) - node.col_offset
        before, after = line[: node.col_offset], line[node.col_offset + length :]
        lines[node.lineno - 1] = before + b"pass".ljust(length) + after
    return b"\n".join(lines).decode()


def _is_program(name: str) -> bool:
    return name.lower().endswith(".py")


def _parsed(text: str) -> ast.Module:
    if len(text) > _MAX_PROGRAM_BYTES:
        raise ModelError("its TorchScript is too long to be validated.")
    try:
        return ast.parse(text, SOURCE)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # None of these is a problem of this machine: the parser raises them at too deep nesting.
        raise ModelError("its TorchScript cannot be parsed.") from None


def _definitions(tree: ast.Module) -> frozenset[str]:
    """Return the methods, functions and classes that a program defines."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


def _validate(tree: ast.Module, defined: frozenset[str]) -> None:
    bound = _bound_names(tree) | defined
    based = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    # Parts whose names are numbers, as those of nn.Sequential, are read by getattr.
    parts = {id(node.func) for node in ast.walk(tree) if _reads_part(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            is_read = isinstance(node.ctx, ast.Load)
            alone = is_read and (
                (node.id in _ROOTS and id(node) not in based)
                or (node.id == "getattr" and id(node) not in parts)
            )
            if alone or node.id in _FORBIDDEN_NAMES or node.id not in bound | _KNOWN_NAMES:
                raise ModelError(f"its TorchScript uses {node.id}, which may not be used.")
        elif isinstance(node, ast.Attribute):
            if id(node) not in based or id(node) in called:
                _validate_path(node, defined, is_called=id(node) in called)
        elif isinstance(node, ast.Call) and not isinstance(node.func, (ast.Name, ast.Attribute)):
            if not isinstance(node.func, ast.Call):
                raise ModelError("its TorchScript calls something without a name.")
        elif isinstance(node, (ast.Import, ast.ImportFrom)) and _imports_more(node):
            raise ModelError("its TorchScript imports something.")


def _validate_path(node: ast.Attribute, defined: frozenset[str], *, is_called: bool) -> None:
    """Allow ``a.b.c`` by its beginning and, if it is called, by its last part."""
    path = dotted(node)
    if path is not None and path[: len(_FOREIGN_CLASSES)] == _FOREIGN_CLASSES:
        raise ModelError("its TorchScript uses torch.classes, which may not be used.")
    if path is not None and path[0] == "ops" and len(path) == 2 and is_called:
        path = None  # a part of a network that is called ops: torch's operators have two more names
    if path is not None and path[0] in _ROOTS:
        family, *rest = path[1:] if path[0] == "ops" else ("aten", *path[1:])
        if family not in _OPERATOR_FAMILIES:
            raise ModelError(f"its TorchScript uses ops.{family}, which is not torch's own.")
        if len(rest) != 1 or rest[0] not in OPERATORS:
            name = ".".join([path[0], *path[1:]])
            raise ModelError(f"its TorchScript uses {name}, which may not be used.")
    elif is_called and (path is None or path[0] != "__torch__"):
        own = node.attr in defined and node.attr not in _torchs_operators()
        if not own and node.attr not in OPERATORS:
            raise ModelError(f"its TorchScript uses .{node.attr}, which may not be used.")


@cache
def _torchs_operators() -> frozenset[str]:
    """Return the names of all operators: those that ``x.name()`` could call on a value."""
    return frozenset(schema.name.partition("::")[2] for schema in torch._C._jit_get_all_schemas())


def _bound_names(tree: ast.Module) -> set[str]:
    """Return the names of a program's arguments and variables."""
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).partition(".")[0])
    return bound - _ROOTS


def _reads_part(node: ast.AST) -> TypeGuard[ast.Call]:
    match node:
        case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value=str() as name)]):
            return name in OPERATORS or name not in _torchs_operators()
    return False


def _imports_more(node: ast.Import | ast.ImportFrom) -> bool:
    """Tell whether an import names anything but the file's own classes."""
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
    return any(not (name or "").startswith("__torch__") for name in names)
