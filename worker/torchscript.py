"""TorchScript files, judged by their text before torch reads them.

``torch.jit.load`` runs no Python: a file holds programs in TorchScript's own small language, and
its pickled parts are read by an unpickler that knows nothing but tensors, containers and those
programs' classes. But the language can read and write files (``aten::save`` and
``aten::from_file`` are all that torch registers with a file name), can print, and can call
operators that other libraries registered; and a module's ``__setstate__`` runs while it is
loaded. So every program is parsed first, and refused if it could do any of this.
"""

import ast
import warnings
from pathlib import Path
from typing import TypeGuard

import torch

from shared.errors import ModelError
from worker.archive import pack, read_parts

#: Operators that touch files, whether called as ``torch.save(x, path)`` or as ``x.save(path)``.
_FORBIDDEN_OPERATORS = frozenset({"save", "from_file"})
#: What TorchScript prints might be of a scan.
_FORBIDDEN_NAMES = frozenset({"print"})
_OPERATOR_FAMILIES = frozenset({"aten", "prim"})
#: Names that stand for torch itself: only ever the beginning of a dotted name.
_ROOTS = frozenset({"torch", "ops"})


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
    programs = [text for name, text in parts.items() if name.lower().endswith(".py")]
    if not programs:
        raise ModelError(f"{path.name} is not a TorchScript file: it holds no program.")
    for program in programs:
        judge_program(program.decode("utf-8", errors="replace"))
    try:
        with warnings.catch_warnings():
            # torch would rather have torch.export; the files that are there stay what they are.
            warnings.simplefilter("ignore", DeprecationWarning)
            network = torch.jit.load(pack(parts), map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{path.name} cannot be loaded by torch {torch.__version__}.") from error
    loaded: torch.jit.ScriptModule = network.eval()
    return loaded


def judge_program(text: str) -> None:
    """Refuse a program in TorchScript that could do more than compute.

    Raises:
        ModelError: What of it is not allowed, by name.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ModelError("its TorchScript cannot be parsed, and so not be judged.") from error
    based = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    # Parts whose names are numbers, as those of nn.Sequential, are asked for by getattr.
    parts = {id(node.func) for node in ast.walk(tree) if _asks_for_part(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            alone = (node.id in _ROOTS and id(node) not in based) or (
                node.id == "getattr" and id(node) not in parts
            )
            if alone or node.id in _FORBIDDEN_NAMES:
                raise ModelError(f"its TorchScript uses {node.id}, which may not be used.")
        elif isinstance(node, ast.Attribute):
            if node.attr in _FORBIDDEN_OPERATORS:
                raise ModelError(f"its TorchScript uses .{node.attr}, which touches files.")
            at_ops = isinstance(node.value, ast.Name) and node.value.id == "ops"
            if at_ops and node.attr not in _OPERATOR_FAMILIES:
                raise ModelError(f"its TorchScript uses ops.{node.attr}, which is not torch's own.")
        elif isinstance(node, (ast.Import, ast.ImportFrom)) and _imports_more(node):
            raise ModelError("its TorchScript imports something.")


def _asks_for_part(node: ast.AST) -> TypeGuard[ast.Call]:
    match node:
        case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value=str() as name)]):
            return name not in _FORBIDDEN_OPERATORS
    return False


def _imports_more(node: ast.Import | ast.ImportFrom) -> bool:
    """Tell whether an import names anything but the file's own classes."""
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
    return any(not (name or "").startswith("__torch__") for name in names)
