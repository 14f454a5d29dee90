"""The ``$`` expressions of a bundle's configuration, validated by their syntax tree.

An expression is a piece of Python in which ``@name`` refers to another part of the
configuration. It is evaluated only if every node of its tree is on the lists here; what is not
known to be harmless is refused by name.
"""

import ast
import re
import warnings
from dataclasses import dataclass

from shared.bundles.allow_list import ROOTS, full_name, words
from shared.errors import ModelError

#: ``@name``, with ``#`` or ``::`` before parts of it.
_REFERENCE = re.compile(r"@([A-Za-z_]\w*(?:(?:::|#)\w+)*)")

#: The file name that the parser gives to a bundle's text.
SOURCE = "<bundle>"
# The parser's warnings about style would put a bundle's text into the log.
warnings.filterwarnings("ignore", module=SOURCE)

#: Longest expression (characters). Those of MONAI's model zoo have at most a few hundred.
MAX_LENGTH = 4_000
#: Most nodes of an expression's syntax tree, and its greatest depth.
_MAX_NODES, _MAX_DEPTH = 2_000, 100

#: Begins the name that replaces a reference while its expression is parsed; no other name may.
_STAND_IN = "_reference_"

BUILTINS = {
    builtin.__name__: builtin
    for builtin in (
        abs, all, any, bool, dict, enumerate, float, int, isinstance, len, list, max, min, range,
        reversed, round, set, slice, sorted, str, sum, tuple, zip,
    )
}  # fmt: skip

#: Attributes that an expression may read: arithmetic and shape of tensors, parts of containers.
_ATTRIBUTES = words(
    """
    T abs all amax amin any argmax argmin astype bool byte clamp clone contiguous count cpu detach
    device dim dtype endswith exp expand flatten flip float ge get gt half index int item items
    keys le log logical_and logical_not logical_or long lower lt max mean min movedim ndim numel
    permute prod relu repeat reshape round shape sigmoid size softmax split squeeze startswith std
    strip sum tanh to tolist transpose type uint8 unsqueeze upper values view eq ne eval
    """
)

_NODES = (
    ast.Expression, ast.Lambda, ast.arguments, ast.arg, ast.BoolOp, ast.And, ast.Or, ast.BinOp,
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.BitAnd, ast.BitOr, ast.BitXor,
    ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.Invert, ast.IfExp, ast.Compare, ast.Eq, ast.NotEq,
    ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.Is, ast.IsNot, ast.Call, ast.keyword,
    ast.Starred, ast.Constant, ast.Name, ast.Load, ast.Store, ast.Attribute, ast.Subscript,
    ast.Slice, ast.Tuple, ast.List, ast.Dict, ast.Set, ast.ListComp, ast.SetComp, ast.DictComp,
    ast.GeneratorExp, ast.comprehension,
)  # fmt: skip


@dataclass(frozen=True)
class Expression:
    """A parsed expression; ``references`` maps the stand-ins in its tree to what they refer to."""

    tree: ast.Expression
    references: dict[str, str]


def is_expression(value: object) -> bool:
    """Tell whether a value of a configuration is an expression."""
    return isinstance(value, str) and value.startswith("$")


def is_reference(value: object) -> bool:
    """Tell whether a value is nothing but a reference."""
    return isinstance(value, str) and _REFERENCE.fullmatch(value) is not None


def validate(text: str) -> Expression:
    """Parse and validate an expression (with its ``$``).

    Raises:
        ModelError: It is not Python, or uses a name or construct that is not on the lists.
    """
    expression = parse(text)
    _Validator(expression).validate()
    return expression


def parse(text: str) -> Expression:
    """Parse an expression (with its ``$``) without validation.

    Raises:
        ModelError: It is not an expression of Python.
    """
    references: dict[str, str] = {}

    def stand_in(match: re.Match[str]) -> str:
        name = f"{_STAND_IN}{len(references)}"
        references[name] = match[1]
        return name

    if _STAND_IN in text:
        raise ModelError(f"{_STAND_IN} may not be used.")
    if len(text) > MAX_LENGTH:
        raise ModelError(f"{_shown(text)} has more than {MAX_LENGTH} characters.")
    try:
        tree = ast.parse(_REFERENCE.sub(stand_in, text[1:].strip()), SOURCE, "eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ModelError(f"{_shown(text)} is not an expression of Python.") from error
    _check_size(tree, _shown(text))
    return Expression(tree, references)


def _check_size(tree: ast.AST, name: str) -> None:
    """Refuse a syntax tree that is too large or too deep.

    Args:
        tree: The syntax tree.
        name: What an error calls it.

    Raises:
        ModelError: It is too large or too deep.
    """
    count, level = 0, [tree]
    for _ in range(_MAX_DEPTH):
        count += len(level)
        if count > _MAX_NODES:
            break
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return
    raise ModelError(f"{name} has too many parts.")


def dotted(node: ast.expr) -> tuple[str, ...] | None:
    """Return ``("a", "b", "c")`` for ``a.b.c``, and None for anything else."""
    last: list[str] = []
    while isinstance(node, ast.Attribute):
        last.append(node.attr)
        node = node.value
    return (node.id, *reversed(last)) if isinstance(node, ast.Name) else None


class _Validator:
    """One walk over one tree; the variables of lambdas and comprehensions are known by name."""

    def __init__(self, expression: Expression) -> None:
        self._tree = expression.tree
        self._references = expression.references
        self._bound = {
            node.arg if isinstance(node, ast.arg) else node.id
            for node in ast.walk(expression.tree)
            if isinstance(node, ast.arg)
            or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
        }

    def validate(self) -> None:
        for name in sorted(self._bound):
            if name in ROOTS or name in BUILTINS or name.startswith("_"):
                raise ModelError(f"{name} may not be used as the name of a variable.")
        # Iterative, because a tree may be deep. A node is visited after those within it: the name
        # that begins ``a.b`` makes the clearer error.
        waiting: list[tuple[ast.AST, bool]] = [(self._tree, False)]
        while waiting:
            node, is_visited = waiting.pop()
            if is_visited:
                if isinstance(node, ast.Attribute) and node.attr not in _ATTRIBUTES:
                    raise ModelError(f".{node.attr} may not be used.")
            elif not self._is_allowed_whole(node):
                waiting.append((node, True))
                waiting += [(child, False) for child in reversed(list(ast.iter_child_nodes(node)))]

    def _is_allowed_whole(self, node: ast.AST) -> bool:
        """Refuse or allow a node; return whether the nodes within it are allowed with it."""
        if not isinstance(node, _NODES):
            raise ModelError(f"{type(node).__name__} may not be used in an expression.")
        if isinstance(node, ast.Name):
            self._name(node.id)
        if isinstance(node, ast.Attribute):
            path = dotted(node)
            if path is not None and path[0] not in self._bound and path[0] not in self._references:
                self._path(path)
                return True
        return False

    def _name(self, name: str) -> None:
        if name not in self._bound and name not in self._references and name not in BUILTINS:
            raise ModelError(f"{name} may not be used.")

    @staticmethod
    def _path(path: tuple[str, ...]) -> None:
        name = ".".join(path)
        if path[0] not in ROOTS or full_name(name) != ".".join([ROOTS[path[0]], *path[1:]]):
            raise ModelError(f"{name} may not be used.")


def _shown(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."
