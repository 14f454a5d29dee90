"""A MONAI bundle's ``configs/inference.json``, read and judged before anything of it is built.

Only four sections decide how a scan is run; what they refer to belongs to them. The rest (data
lists, loaders, handlers, evaluators, imports) is for training and evaluation elsewhere: it is
never evaluated here, and looked at only for what no honest bundle needs.
"""

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.bundles.allow_list import full_name, is_boundary, words
from shared.bundles.expressions import (
    MAX_LENGTH,
    REFERENCE,
    SOURCE,
    check_size,
    dotted,
    is_expression,
    is_reference,
    validate,
)
from shared.bundles.files import MAX_DEPTH, MAX_VALUES, inner, read_json
from shared.errors import ModelError

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
#: Longest name of a component (characters).
_MAX_NAME = 200
#: Most characters that all expressions have together, once macros are replaced.
_MAX_EXPRESSIONS = 1 << 17
#: Most values that are looked at, each as often as something refers to it.
_MAX_LOOKS = 5 * MAX_VALUES

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
        if not os.path.lexists(folder / CONFIGURATION):
            return None
        content = read_json(folder / CONFIGURATION, f"{folder.name}: {CONFIGURATION}")
        try:
            return cls(_Macros(content).replaced())
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
                raise ModelError(
                    f"@{reference[:_MAX_NAME]} refers to something that is not there."
                ) from error
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
        reached: set[tuple[str, ...]] = set()
        budget = _Budget()
        try:
            for place in waiting:  # it grows on the way
                parts = tuple(_SEPARATOR.split(place))
                if parts in reached or place in OVERRIDDEN:
                    continue
                reached.add(parts)
                try:
                    value = self.value(place)
                except ModelError as error:
                    yield error.detail
                    continue
                for where, part in _evaluated(place, value):
                    budget.spend(part)
                    try:
                        waiting.extend(_validate_part(part))
                    except ModelError as error:
                        yield f"{where}: {error.detail}"
            for name, section in self.sections.items():
                for where, part in _everything(name, section):
                    budget.spend(part)
                    try:
                        _refuse_hostile(part)
                    except ModelError as error:
                        yield f"{where}: {error.detail}"
        except _Exhausted:
            yield "it has more parts, or longer expressions, than can be looked at."


def arguments(component: dict[str, Any]) -> dict[str, Any]:
    """Return what a component passes to its target."""
    return {key: value for key, value in component.items() if key not in COMPONENT_KEYS}


def is_component(value: object) -> bool:
    """Tell whether a value names something to be built."""
    return isinstance(value, dict) and "_target_" in value


def is_passed_over(component: dict[str, Any]) -> bool:
    """Tell whether a component is never built: it is switched off, or reads or writes files."""
    return is_boundary(str(component["_target_"])) or component.get("_disabled_") is True


class _Exhausted(Exception):
    """More was to be looked at than the budget allows."""


class _Budget:
    """What one look at a configuration may cost: its parts may refer to each other at will."""

    def __init__(self) -> None:
        self._looks = _MAX_LOOKS
        self._characters = 2 * _MAX_EXPRESSIONS  # each part is looked at in two ways

    def spend(self, part: Any) -> None:
        """Count one look at a part; raises _Exhausted."""
        self._looks -= 1
        if is_expression(part):
            self._characters -= len(part)
        if self._looks < 0 or self._characters < 0:
            raise _Exhausted


def _validate_part(value: Any) -> list[str]:
    """Allow one value, not those within it, and return what it refers to."""
    if is_component(value):
        mode = value.get("_mode_", "default")
        if mode not in _MODES:
            raise ModelError(
                f"_mode_ {str(mode)[:_MAX_NAME]!r} may not be used; it is default or callable."
            )
        target = value["_target_"]
        if not isinstance(target, str) or len(target) > _MAX_NAME:
            raise ModelError("_target_ is not a name.")
        full_name(target)
    if is_expression(value):
        return list(validate(value).references.values())
    if is_reference(value):
        return [value[1:]]
    return []


def _evaluated(where: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every value that is evaluated when ``value`` is, with its place."""
    waiting = [(where, value)]
    while waiting:
        where, value = waiting.pop()
        if is_component(value) and is_passed_over(value):
            # Which key it loads or saves is still of interest.
            waiting.append((f"{where}::keys", value.get("keys")))
            continue
        yield where, value
        waiting += [
            (f"{where}::{key}", part)
            for key, part in reversed(list(inner(value)))
            if key not in ("_target_", "_desc_", "_mode_")
        ]


def _everything(where: str, value: Any) -> Iterator[tuple[str, Any]]:
    waiting = [(where, value)]
    while waiting:
        where, value = waiting.pop()
        yield where, value
        waiting += [(f"{where}::{key}", part) for key, part in reversed(list(inner(value)))]


def _refuse_hostile(value: Any) -> None:
    """Refuse what runs programs or other code, even in a part that is never evaluated."""
    if is_component(value):
        _refuse_hostile_name(str(value["_target_"]))
    if not is_expression(value):
        return
    if len(value) > MAX_LENGTH:
        raise ModelError(f"an expression has more than {MAX_LENGTH} characters.")
    try:
        tree = ast.parse(REFERENCE.sub("_", value[1:].strip()), SOURCE)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # not Python, and so nothing that could be run
    check_size(tree, "an expression")
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


class _Macros:
    """Replaces every ``%part`` of a file by a copy of that part, within bounds.

    A few hundred bytes of macros that double each other would fill any memory.
    """

    def __init__(self, content: dict[str, Any]) -> None:
        self._original = Configuration(content)
        self._values_left = MAX_VALUES

    def replaced(self) -> dict[str, Any]:
        """Return the file's content.

        Raises:
            ModelError: A macro names another file, or nothing, or itself, or there are too many.
        """
        return dict(self._replaced(self._original.sections, 0))

    def _replaced(self, value: Any, depth: int) -> Any:
        self._values_left -= 1
        if self._values_left < 0:
            raise ModelError(f"its macros make more than {MAX_VALUES} values of it.")
        if depth > MAX_DEPTH:
            raise ModelError("its parts are nested too deep, or refer to themselves.")
        if isinstance(value, dict):
            return {key: self._replaced(part, depth + 1) for key, part in value.items()}
        if isinstance(value, list):
            return [self._replaced(part, depth + 1) for part in value]
        if isinstance(value, str) and value.startswith("%"):
            match = _MACRO.fullmatch(value)
            if match is None:
                raise ModelError(
                    f"{value[:_MAX_NAME]} may not be used: a macro names a part of this file."
                )
            return self._replaced(self._original.value(match[1]), depth + 1)
        return value
