"""A MONAI bundle's ``configs/inference.json``, read and validated before anything of it is built.

Only four sections decide how a scan is run, together with what they refer to. All other sections
(data lists, loaders, handlers, evaluators, imports) are for training and evaluation elsewhere.
They are bounded in size and then dropped, so that nothing can be built that was not validated.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.bundles.allow_list import full_name, is_boundary
from shared.bundles.expressions import is_expression, is_reference, validate
from shared.bundles.files import CONFIGURATION, MAX_DEPTH, MAX_VALUES, inner, read_json
from shared.errors import ModelError

#: The sections that decide how a scan is run. ``network`` is read if there is no ``network_def``.
SECTIONS = ("preprocessing", "network_def", "inferer", "postprocessing")

#: Sections whose values VoxelQ sets itself; those of the configuration are not used.
OVERRIDDEN = frozenset({"device", "bundle_root"})

#: Keys of a component that are not arguments.
COMPONENT_KEYS = frozenset({"_target_", "_disabled_", "_desc_", "_mode_", "_requires_"})
_MODES = ("default", "callable")

_SEPARATOR = re.compile(r"::|#")
_MACRO = re.compile(r"%([A-Za-z_]\w*(?:(?:::|#)\w+)*)")
#: Longest name of a component (characters).
_MAX_NAME = 200
#: Most characters of all expressions together, each counted as often as something refers to it.
_MAX_EXPRESSIONS = 1 << 18
#: Most values that are validated, each counted as often as something refers to it.
_MAX_VALIDATED = 5 * MAX_VALUES


@dataclass(frozen=True)
class Configuration:
    """The sections of a configuration as they are in the file, macros replaced."""

    sections: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "Configuration | None":
        """Read and validate the configuration of the bundle in ``folder``; None if it has none.

        Raises:
            ModelError: It is not readable, or something in it is not allowed or missing.
        """
        configuration = cls.read_unvalidated(folder)
        if configuration is None:
            return None
        try:
            return configuration.validated()
        except ModelError as error:
            raise ModelError(f"{folder.name}: {CONFIGURATION}: {error.detail}") from error

    @classmethod
    def read_unvalidated(cls, folder: Path) -> "Configuration | None":
        """Read the configuration of the bundle in ``folder`` without validation; None if missing.

        Raises:
            ModelError: It is not readable, or a macro cannot be replaced.
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
            ModelError: There is no such value.
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

    def validated(self) -> "Configuration":
        """Return the sections that are run, and flags such as ``amp``; the others are dropped.

        Raises:
            ModelError: The first thing that is not allowed or missing, and its place.
        """
        validation = _Validation(self)
        for problem in validation.problems():
            raise ModelError(problem)
        kept = {
            name: value
            for name, value in self.sections.items()
            if name in validation.sections or isinstance(value, bool)
        }
        return Configuration(kept)

    def problems(self) -> Iterator[str]:
        """Yield everything that is not allowed or missing in what is run, each with its place."""
        return _Validation(self).problems()


def arguments(component: dict[str, Any]) -> dict[str, Any]:
    """Return what a component passes to its target."""
    return {key: value for key, value in component.items() if key not in COMPONENT_KEYS}


def is_component(value: object) -> bool:
    """Tell whether a value names something to be built."""
    return isinstance(value, dict) and "_target_" in value


def is_skipped(component: dict[str, Any]) -> bool:
    """Tell whether a component in a list is never built: disabled, or it reads or writes files."""
    return is_boundary(str(component["_target_"])) or component.get("_disabled_") is True


def evaluated_parts(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every value that is evaluated when ``value`` is, with its place."""
    waiting = [(place, value)]
    while waiting:
        place, value = waiting.pop()
        yield place, value
        for key, part in reversed(list(inner(value))):
            if is_component(value) and key in ("_target_", "_desc_", "_mode_"):
                continue
            if isinstance(value, list) and is_component(part) and is_skipped(part):
                # Only the keys that it loads or saves are used.
                waiting.append((f"{place}::{key}::keys", part.get("keys")))
            else:
                waiting.append((f"{place}::{key}", part))


class _Validation:
    """One walk over the sections that are run and everything that they refer to."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._reached: set[tuple[str, ...]] = set()
        # Parts may refer to each other in any number, so the walk is bounded.
        self._values_left = _MAX_VALIDATED
        self._characters_left = _MAX_EXPRESSIONS

    @property
    def sections(self) -> set[str]:
        """The sections that the walk has reached."""
        return {parts[0] for parts in self._reached}

    def problems(self) -> Iterator[str]:
        present = self._configuration.sections
        waiting = [name for name in (*SECTIONS, "network") if name in present]
        if "network_def" in waiting and "network" in waiting:
            waiting.remove("network")  # it only moves the network to a device
        for place in waiting:  # references are appended during the walk
            parts = tuple(_SEPARATOR.split(place))
            if parts in self._reached or place in OVERRIDDEN:
                continue
            self._reached.add(parts)
            try:
                value = self._configuration.value(place)
            except ModelError as error:
                yield error.detail
                continue
            for part_place, part in evaluated_parts(place, value):
                if not self._count(part):
                    yield "it has more parts, or longer expressions, than can be validated."
                    return
                try:
                    waiting.extend(_validate_part(part))
                except ModelError as error:
                    yield f"{part_place}: {error.detail}"

    def _count(self, part: Any) -> bool:
        """Count one value; returns whether the walk is still within its bounds."""
        self._values_left -= 1
        if is_expression(part):
            self._characters_left -= len(part)
        return self._values_left >= 0 and self._characters_left >= 0


def _validate_part(value: Any) -> list[str]:
    """Validate one value, not those within it, and return what it refers to."""
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
