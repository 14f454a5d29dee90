"""The reference of the Python package, from its docstrings."""

import ast
import importlib
import importlib.util
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from types import ModuleType

from docs.generate.markdown import code, literals

PACKAGE = "voxelq"
#: A longer signature has a line for each parameter.
LINE = 88
_SECTION = re.compile(r"^(Args|Returns|Raises|Yields|Attributes|Example):$", re.MULTILINE)
_TITLES = {"Args": "Arguments"}
_ITEM = re.compile(r"^(\w[\w.]*)(?: \([^)]*\))?: ", re.MULTILINE)
_MODULES = re.compile(r"\b(?:[a-z_]\w*\.)+(?=[A-Z])")


def python_reference() -> str:
    """Return a section for each public name of the package."""
    if importlib.util.find_spec(PACKAGE) is None:
        return "This version has no Python package of that name yet; use HTTP or the command line."
    return module_reference(importlib.import_module(PACKAGE))


def module_reference(module: ModuleType) -> str:
    """Return a section for each public name of a module; errors come last."""
    public = {name: getattr(module, name) for name in module.__all__}
    names = sorted(public, key=lambda name: _rank(name, public[name]))
    return "\n".join(section for name in names for section in _sections(name, public[name], public))


def _rank(name: str, found: object) -> tuple[bool, bool]:
    return _is_error(found), name.startswith("Async")


def _is_error(found: object) -> bool:
    return inspect.isclass(found) and issubclass(found, BaseException)


def _sections(name: str, found: object, public: Mapping[str, object]) -> Iterator[str]:
    if not inspect.isclass(found):
        yield _section("##", name, _signature(name, found), found.__doc__)
        return
    signature = "" if _is_error(found) else _signature(name, found)
    # an inherited docstring does not describe this class
    yield _section("##", name, signature, vars(found).get("__doc__"))
    for member, value in _members(found, public).items():
        path = f"{name}.{member}"
        if isinstance(value, property):
            yield _section("###", path, "", value.__doc__)
        elif inspect.isfunction(inspect.unwrap(getattr(found, member))):
            yield _section("###", path, _signature(path, getattr(found, member)), value.__doc__)


def _members(found: type, public: Mapping[str, object]) -> dict[str, object]:
    """Return a class's members, and those inherited from classes that have no section."""
    members: dict[str, object] = {}
    for base in reversed(found.__mro__):
        own = base is found or (
            base not in public.values()
            and base.__module__.partition(".")[0] == found.__module__.partition(".")[0]
        )
        if own:
            members.update(vars(base))
    return {member: value for member, value in members.items() if not member.startswith("_")}


def _section(mark: str, name: str, signature: str, text: str | None) -> str:
    parts = [f"{mark} {name}"]
    if signature:
        parts.append(f"```python\n{signature}\n```")
    parts.append(_formatted(inspect.cleandoc(text or "")))
    return "\n\n".join(part for part in parts if part) + "\n"


def _signature(name: str, found: object) -> str:
    """Return a signature, with its annotations as they are written."""
    function = vars(found).get("__init__", found) if inspect.isclass(found) else found
    try:
        source = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))  # type: ignore[arg-type]
    except (OSError, TypeError, SyntaxError):
        source = ast.Module([], [])
    written = source.body[0] if source.body else None
    if isinstance(written, ast.FunctionDef | ast.AsyncFunctionDef):
        parameters = _parameters(written.args)
        returns = f" -> {_annotation(written.returns)}" if written.returns else ""
        if inspect.isclass(found):
            returns = ""
        mark = "await " if isinstance(written, ast.AsyncFunctionDef) else ""
    elif callable(found):
        # a class with a generated constructor, such as a dataclass
        shown = inspect.signature(found).parameters.values()
        parameters = [_MODULES.sub("", str(parameter)) for parameter in shown]
        returns, mark = "", ""
    else:
        return f"{name} = {found!r}"
    line = f"{mark}{name}({', '.join(parameters)}){returns}"
    if len(line) <= LINE:
        return line
    lines = "".join(f"    {parameter},\n" for parameter in parameters)
    return f"{mark}{name}(\n{lines}){returns}"


def _parameters(arguments: ast.arguments) -> list[str]:
    places = [*arguments.posonlyargs, *arguments.args]
    plain: list[ast.expr | None] = [None] * (len(places) - len(arguments.defaults))
    shown = [
        _parameter(argument, default)
        for argument, default in zip(places, [*plain, *arguments.defaults], strict=True)
    ]
    if shown and places[0].arg in ("self", "cls"):
        del shown[0]
    if arguments.vararg:
        shown.append(f"*{_parameter(arguments.vararg, None)}")
    elif arguments.kwonlyargs:
        shown.append("*")
    shown += map(_parameter, arguments.kwonlyargs, arguments.kw_defaults)
    if arguments.kwarg:
        shown.append(f"**{_parameter(arguments.kwarg, None)}")
    return shown


def _parameter(argument: ast.arg, default: ast.expr | None) -> str:
    annotation = f": {_annotation(argument.annotation)}" if argument.annotation else ""
    name = f"{argument.arg}{annotation}"
    return name if default is None else f"{name} = {ast.unparse(default)}"


def _annotation(node: ast.expr) -> str:
    # an annotation in quotes is text
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return str(node.value) if is_text else ast.unparse(node)  # type: ignore[attr-defined]


def _formatted(text: str) -> str:
    """Turn the sections of a Google docstring into bold words, lists and examples."""
    head, *rest = _SECTION.split(text)
    parts = [literals(head.strip())]
    for title, body in zip(rest[::2], rest[1::2], strict=True):
        # text after a section that is not indented no longer belongs to it
        inner, after = _indented(body.strip("\n"))
        listed = _listed(title, textwrap.dedent(inner).strip())
        parts.append(f"**{_TITLES.get(title, title)}**\n\n{listed}")
        parts.append(literals(after.strip()))
    return "\n\n".join(part for part in parts if part)


def _indented(body: str) -> tuple[str, str]:
    lines = body.split("\n")
    end = next(
        (number for number, line in enumerate(lines) if line and not line.startswith(" ")),
        len(lines),
    )
    return "\n".join(lines[:end]), "\n".join(lines[end:])


def _listed(title: str, content: str) -> str:
    if title == "Example":
        return f"```pycon\n{content.replace('  # doctest: +SKIP', '')}\n```"
    items = _ITEM.split(content)[1:]
    if not items:
        return literals(content)
    return "\n".join(
        f"- {code(item)}: {literals(' '.join(words.split()))}"
        for item, words in zip(items[::2], items[1::2], strict=True)
    )
