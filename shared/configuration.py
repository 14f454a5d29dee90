"""A MONAI bundle's ``configs/inference.json``, read and judged before anything of it is built.

Only four sections decide how a scan is run; what they refer to belongs to them. The rest (data
lists, loaders, handlers, evaluators, imports) is for training and evaluation elsewhere: it is
never evaluated here, and looked at only for what no honest bundle needs.
"""

import ast
import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.allowed_names import full_name, is_boundary, words
from shared.errors import ModelError
from shared.expressions import REFERENCE, dotted, is_expression, is_reference, judge

CONFIGURATION = Path("configs") / "inference.json"

#: The sections that say how a scan is run. ``network`` is read where there is no ``network_def``.
SECTIONS = ("preprocessing", "network_def", "inferer", "postprocessing")

#: What VoxelQ sets itself, whatever the configuration says.
OVERRIDDEN = frozenset({"device", "bundle_root"})

#: Keys of a component that are not arguments.
COMPONENT_KEYS = frozenset({"_target_", "_disabled_", "_desc_", "_mode_", "_requires_"})
_MODES = ("default", "callable")

_SEPARATOR = re.compile(r"::|#")
_MACRO = re.compile(r"%([A-Za-z_]\w*(?:(?:::|#)\w+)*)")
_DEEPEST = 40

#: Names that no honest bundle needs anywhere, not even where VoxelQ never looks.
_HOSTILE_CALLS = frozenset({"__import__", "breakpoint", "compile", "eval", "exec", "open"})
_HOSTILE_MODULES = words(
    """
    builtins code ctypes importlib marshal multiprocessing nt pickle posix pty runpy shutil socket
    subprocess urllib webbrowser
    """
)
_HOSTILE_OS = re.compile(r"os\.(exec|spawn|posix_spawn|fork|popen|system|remove|unlink|rmdir|kill)")


@dataclass(frozen=True)
class Configuration:
    """The sections of a configuration as they stand in the file, macros replaced."""

    sections: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "Configuration | None":
        """Read and judge the configuration of the bundle in ``folder``; None where it has none.

        Raises:
            ModelError: It is not readable, or something in it is not allowed or not there.
        """
        configuration = cls.parse(folder)
        if configuration is not None:
            try:
                configuration.check()
            except ModelError as error:
                raise ModelError(f"{folder.name}: {CONFIGURATION}: {error.detail}") from error
        return configuration

    @classmethod
    def parse(cls, folder: Path) -> "Configuration | None":
        """Read the configuration of the bundle in ``folder`` unjudged; None where it has none.

        Raises:
            ModelError: It is not readable, or its macros lead nowhere.
        """
        if not (folder / CONFIGURATION).exists():
            return None
        try:
            content = json.loads((folder / CONFIGURATION).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ModelError(f"{folder.name}: {CONFIGURATION} is not readable JSON.") from error
        if not isinstance(content, dict):
            raise ModelError(f"{folder.name}: {CONFIGURATION} is not a JSON object.")
        try:
            return cls(_with_macros(content))
        except ModelError as error:
            raise ModelError(f"{folder.name}: {CONFIGURATION}: {error.detail}") from error

    @property
    def network_section(self) -> str:
        """The name of the section that builds the network."""
        return "network_def" if "network_def" in self.sections else "network"

    def value(self, reference: str) -> Any:
        """Return the raw value that ``a::b::0`` (or ``a#b#0``) refers to.

        Raises:
            ModelError: There is no such part.
        """
        value: Any = self.sections
        for part in _SEPARATOR.split(reference):
            try:
                value = value[int(part)] if isinstance(value, list) else value[part]
            except (KeyError, IndexError, TypeError, ValueError) as error:
                raise ModelError(f"@{reference} refers to something that is not there.") from error
        return value

    def check(self) -> None:
        """Judge all of it.

        Raises:
            ModelError: The first thing that is not allowed or not there, and where it stands.
        """
        for problem in self.problems():
            raise ModelError(problem)

    def problems(self) -> Iterator[str]:
        """Yield all that is not allowed or not there, each with its place."""
        waiting = [name for name in (*SECTIONS, "network") if name in self.sections]
        if "network_def" in waiting and "network" in waiting:
            waiting.remove("network")  # it only moves the network to a device
        reached: set[str] = set()
        while waiting:
            place = waiting.pop(0)
            if place in reached or place in OVERRIDDEN:
                continue
            reached.add(place)
            try:
                value = self.value(place)
            except ModelError as error:
                yield error.detail
                continue
            for where, part in _evaluated(place, value):
                try:
                    waiting.extend(_judge_part(part))
                except ModelError as error:
                    yield f"{where}: {error.detail}"
        for name, section in self.sections.items():
            for where, part in _everything(name, section):
                try:
                    _refuse_hostile(part)
                except ModelError as error:
                    yield f"{where}: {error.detail}"


def arguments(component: dict[str, Any]) -> dict[str, Any]:
    """Return what a component passes to its target."""
    return {key: value for key, value in component.items() if key not in COMPONENT_KEYS}


def is_component(value: object) -> bool:
    """Tell whether a value names something to be built."""
    return isinstance(value, dict) and "_target_" in value


def is_passed_over(component: dict[str, Any]) -> bool:
    """Tell whether a component is never built: it is switched off, or reads or writes files."""
    return is_boundary(str(component["_target_"])) or component.get("_disabled_") is True


def _judge_part(value: Any) -> list[str]:
    """Allow one value, not those within it, and return what it refers to."""
    if is_component(value):
        mode = value.get("_mode_", "default")
        if mode not in _MODES:
            raise ModelError(f"_mode_ {mode!r} may not be used; it is default or callable.")
        if not isinstance(value["_target_"], str):
            raise ModelError("_target_ is not a name.")
        full_name(value["_target_"])
    if is_expression(value):
        return list(judge(value).references.values())
    if is_reference(value):
        return [value[1:]]
    return []


def _evaluated(where: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every value that is evaluated when ``value`` is, with its place."""
    if is_component(value) and is_passed_over(value):
        # Which key it loads or saves is still of interest.
        yield from _evaluated(f"{where}::keys", value.get("keys"))
        return
    yield where, value
    for key, inner in _inner(value):
        if key not in ("_target_", "_desc_", "_mode_"):
            yield from _evaluated(f"{where}::{key}", inner)


def _everything(where: str, value: Any) -> Iterator[tuple[str, Any]]:
    yield where, value
    for key, inner in _inner(value):
        yield from _everything(f"{where}::{key}", inner)


def _inner(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(str(key), inner) for key, inner in value.items()]
    if isinstance(value, list):
        return [(str(index), inner) for index, inner in enumerate(value)]
    return []


def _refuse_hostile(value: Any) -> None:
    """Refuse what runs programs or other code, even in a part that is never evaluated."""
    if is_component(value):
        _refuse_hostile_name(str(value["_target_"]))
    if not is_expression(value):
        return
    try:
        tree = ast.parse(REFERENCE.sub("_", value[1:].strip()))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # not Python, and so nothing that anybody could run
    for node in ast.walk(tree):
        path = dotted(node) if isinstance(node, ast.expr) else None
        if path is not None:
            _refuse_hostile_name(".".join(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            _refuse_hostile_name(node.func.id)
        if isinstance(node, ast.Attribute) and node.attr in (
            "__globals__", "__builtins__", "__subclasses__", "__import__", "__loader__"
        ):  # fmt: skip
            raise ModelError(f".{node.attr} may not be used.")


def _refuse_hostile_name(name: str) -> None:
    root = name.partition(".")[0]
    if root in _HOSTILE_MODULES or name in _HOSTILE_CALLS or _HOSTILE_OS.match(name):
        raise ModelError(f"{name} may not be used, not even in a part that is never evaluated.")


def _with_macros(content: dict[str, Any]) -> dict[str, Any]:
    """Replace every ``%part`` by a copy of that part of the same file.

    Raises:
        ModelError: A macro names another file, or nothing, or itself.
    """
    original = Configuration(content)

    def replaced(value: Any, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ModelError("its parts are nested too deep, or refer to themselves.")
        if isinstance(value, dict):
            return {key: replaced(inner, depth + 1) for key, inner in value.items()}
        if isinstance(value, list):
            return [replaced(inner, depth + 1) for inner in value]
        if isinstance(value, str) and value.startswith("%"):
            match = _MACRO.fullmatch(value)
            if match is None:
                raise ModelError(f"{value} may not be used: a macro names a part of this file.")
            return replaced(copy.deepcopy(original.value(match[1])), depth + 1)
        return value

    return dict(replaced(content, 0))
