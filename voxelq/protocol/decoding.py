"""JSON into frozen dataclasses, by their annotations; members without a field are ignored.

So a newer service may say more than this client knows, and a missing member is an error only
where its field has no default.
"""

import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from voxelq.records import Answer

T = TypeVar("T")


def decode(kind: type[T], members: object) -> T:
    """Return ``members``, an object of JSON, as the dataclass ``kind``.

    Raises:
        ValueError: A member is missing, or is not what its field's annotation says.
    """
    if not isinstance(members, Mapping):
        raise ValueError(f"{kind.__name__} is not an object")  # noqa: TRY004 - wrong data, not code
    values = {}
    hashable: Any = kind
    for name, hint, required in _fields(hashable):
        if name in members:
            values[name] = _value(hint, members[name], f"{kind.__name__}.{name}")
        elif required:
            raise ValueError(f"{kind.__name__}.{name} is missing")
    if issubclass(kind, Answer):
        values["document"] = members
    return kind(**values)


@cache
def _fields(kind: Any) -> list[tuple[str, Any, bool]]:
    assert is_dataclass(kind)  # noqa: S101 - only this package's own kinds come here
    hints = get_type_hints(kind)
    return [
        (
            member.name,
            hints[member.name],
            member.default is MISSING and member.default_factory is MISSING,
        )
        for member in fields(kind)
        if member.name != "document"
    ]


def _value(hint: Any, value: object, place: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):  # the only unions here are with None
        (inner,) = (kind for kind in arguments if kind is not types.NoneType)
        return None if value is None else _value(inner, value, place)
    if origin is tuple:
        return _items(arguments, value, place)
    if origin is Mapping and isinstance(value, Mapping):
        return {str(name): _value(arguments[1], item, place) for name, item in value.items()}
    if is_dataclass(hint) and isinstance(hint, type):
        return decode(hint, value)
    if hint is datetime and isinstance(value, str):
        return datetime.fromisoformat(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint):
        return value
    raise ValueError(f"{place} is {type(value).__name__}")


def _items(hints: tuple[Any, ...], value: object, place: str) -> tuple[Any, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError(f"{place} is not a list")  # noqa: TRY004 - wrong data, not code
    if hints[-1] is Ellipsis:
        return tuple(_value(hints[0], item, place) for item in value)
    if len(value) != len(hints):
        raise ValueError(f"{place} has {len(value)} items, not {len(hints)}")
    return tuple(_value(hint, item, place) for hint, item in zip(hints, value, strict=True))
