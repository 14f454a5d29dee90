"""From a validated configuration to objects: components built and references followed on demand.

MONAI's own parser imports each name in a configuration and evaluates each expression. This one
builds only what is requested, only from names in `shared.bundles.allow_list`, and evaluates only
expressions that `shared.bundles.expressions` has validated.
"""

import functools
import importlib
import re
import warnings
from collections.abc import Mapping
from typing import Any

from shared.bundles.allow_list import full_name
from shared.bundles.config import Configuration, arguments, is_component, is_skipped
from shared.bundles.expressions import BUILTINS, SOURCE, is_expression, is_reference, validate
from shared.errors import MissingRequirement, ModelError

Path = tuple[str, ...]

#: Longest chain of parts that refer to each other.
_MAX_DEPTH = 100

_MODULES = ("torch", "numpy", "monai", "monai.transforms", "monai.networks.nets", "monai.inferers")


class Resolver:
    """Builds each part of a configuration once, however many parts refer to it."""

    def __init__(self, configuration: Configuration, given: Mapping[str, Any]) -> None:
        """Create a resolver; sections in ``given`` have those values and are not built."""
        self._configuration = configuration
        self._given = given
        self._built: dict[Path, Any] = {}
        self._begun: set[Path] = set()
        self._depth = 0

    def get(self, reference: str) -> Any:
        """Return the object that ``section``, ``section::part`` or ``section#0`` refers to.

        Raises:
            ModelError: It is missing, not allowed, refers to itself, or cannot be built.
        """
        return self._get(tuple(re.split(r"::|#", reference)))

    def _get(self, path: Path) -> Any:
        if path[0] in self._given and len(path) == 1:
            return self._given[path[0]]
        if path not in self._built:
            if path in self._begun:
                raise ModelError(f"{'::'.join(path)} refers to itself.")
            if self._depth >= _MAX_DEPTH:
                raise ModelError(f"{'::'.join(path)} is reached through too many references.")
            self._begun.add(path)
            self._depth += 1
            self._built[path] = self._build(path, self._configuration.value("::".join(path)))
            self._depth -= 1
        return self._built[path]

    def _build(self, path: Path, value: Any) -> Any:
        if is_component(value):
            return self._component(path, value)
        if isinstance(value, dict):
            return {key: self._get((*path, key)) for key in value}
        if isinstance(value, list):
            kept = [
                index
                for index, item in enumerate(value)
                if not (is_component(item) and is_skipped(item))
            ]
            return [self._get((*path, str(index))) for index in kept]
        if is_expression(value):
            return self._evaluate(path, value)
        return self.get(value[1:]) if is_reference(value) else value

    def _component(self, path: Path, component: dict[str, Any]) -> Any:
        target = locate(component["_target_"])
        given = {key: self._get((*path, key)) for key in arguments(component)}
        if component.get("_mode_") == "callable":
            return functools.partial(target, **given)
        try:
            with warnings.catch_warnings():
                # MONAI warns of changes in its future versions, which a worker cannot act on.
                warnings.simplefilter("ignore", FutureWarning)
                return target(**given)
        except Exception as error:  # a constructor may raise anything
            raise ModelError(
                f"{'::'.join(path)}: {component['_target_']} cannot be built: {error}"
            ) from error

    def _evaluate(self, path: Path, text: str) -> Any:
        expression = validate(text)
        names: dict[str, Any] = {"__builtins__": BUILTINS}
        for name in _MODULES:
            if name.partition(".")[0] in text:
                names[name.partition(".")[0]] = _module(name.partition(".")[0])
                _module(name)
        names["np"] = names.get("numpy") or _module("numpy")
        names |= {name: self.get(to) for name, to in expression.references.items()}
        try:
            return eval(compile(expression.tree, SOURCE, "eval"), names)  # noqa: S307 - validated
        except Exception as error:  # a bundle's expression may raise anything
            raise ModelError(f"{'::'.join(path)} cannot be evaluated: {error}") from error


def locate(name: str) -> Any:
    """Return the callable that a ``_target_`` names.

    Raises:
        ModelError: It is not allowed.
        MissingRequirement: This MONAI does not have it, or MONAI is not installed.
    """
    module, _, last = full_name(name).rpartition(".")
    try:
        return getattr(_module(module), last)
    except AttributeError as error:
        raise MissingRequirement(
            f"{name} is not part of the {module} that is installed."
        ) from error


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("monai"):
            raise
        raise MissingRequirement(
            "Running a bundle with configs/inference.json takes MONAI, which is not installed: "
            "pip install 'voxelq[monai]'."
        ) from error
