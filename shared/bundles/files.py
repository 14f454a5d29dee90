"""Where a bundle's files are, and the only way to read its text files, which users wrote.

A folder may hold a pipe under the name of a file, a document of a gigabyte, or one that is nested
a million times. So only regular files are opened, and what is read is bounded in bytes, depth,
number of values and length of keys.
"""

import json
import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from shared.errors import ModelError

METADATA = Path("configs") / "metadata.json"
CONFIGURATION = Path("configs") / "inference.json"
STATE_DICT = Path("models") / "model.pt"
TORCHSCRIPT = Path("models") / "model.ts"
EXPORTED_PROGRAM = Path("models") / "model.pt2"
#: Where the weights may be.
WEIGHTS = (STATE_DICT, TORCHSCRIPT, EXPORTED_PROGRAM)

#: Largest JSON file of a bundle (bytes). The largest of MONAI's model zoo has 60 KB.
MAX_JSON_BYTES = 1 << 20
#: Deepest nesting of a JSON file, before and after its macros are replaced.
MAX_DEPTH = 40
#: Most values in a JSON file, before and after its macros are replaced.
MAX_VALUES = 20_000
#: Longest key of a JSON object (characters).
MAX_KEY = 200
#: No bundle needs an integer of more digits.
_MAX_DIGITS = 18


def read_json(path: Path, name: str) -> dict[str, Any]:
    """Read a JSON object within the bounds of this module.

    Args:
        path: The file.
        name: What an error calls the file.

    Raises:
        ModelError: The file is missing, not a regular file, over a bound, or not a JSON object.
    """
    content = read_bytes(path, MAX_JSON_BYTES + 1, name)
    if len(content) > MAX_JSON_BYTES:
        raise ModelError(f"{name} has more than {MAX_JSON_BYTES} bytes.")
    try:
        document = json.loads(
            content.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_whole,
        )
    except RecursionError as error:
        raise ModelError(f"{name} is nested too deep.") from error
    except ValueError as error:
        raise ModelError(f"{name} is not readable JSON.") from error
    if not isinstance(document, dict):
        raise ModelError(f"{name} is not a JSON object.")
    _check_bounds(document, name)
    return document


def read_bytes(path: Path, most: int, name: str) -> bytes:
    """Return the first ``most`` bytes of a regular file; never block on a pipe.

    Raises:
        ModelError: The file is missing, not readable or not a regular file.
    """
    try:
        # Without O_NONBLOCK, opening a pipe would wait for a writer without end.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ModelError(f"{name} is not a regular file.")
            with open(descriptor, "rb", closefd=False) as file:
                return file.read(most)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        raise ModelError(f"There is no readable {name}.") from error


def inner(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the values within an object or a list with their keys; nothing for any other value."""
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from ((str(index), part) for index, part in enumerate(value))


def _check_bounds(document: dict[str, Any], name: str) -> None:
    count, level = 0, [document]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            for key, part in inner(value):
                if len(key) > MAX_KEY:
                    raise ModelError(f"{name} has a key of more than {MAX_KEY} characters.")
                _check_text(key, name)
                if isinstance(part, str):
                    _check_text(part, name)
                elif isinstance(part, (dict, list)):
                    below.append(part)
                count += 1
        if count > MAX_VALUES:
            raise ModelError(f"{name} has more than {MAX_VALUES} values.")
        level = below
        if not level:
            return
    raise ModelError(f"{name} is nested too deep.")


def _check_text(text: str, name: str) -> None:
    try:
        text.encode("utf-8")  # JSON can spell half a character, which no response can contain
    except UnicodeEncodeError as error:
        raise ModelError(f"{name} holds text that is not Unicode.") from error


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("NaN and infinity are not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _whole(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError("a whole number has too many digits")
    return int(digits)
