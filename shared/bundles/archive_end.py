"""Whether a zip archive is complete, checked by its end alone and at a bounded cost.

Python's ``zipfile`` takes several times the size of an archive's directory in memory, and a hostile
file may state any size for it.
"""

import os
import struct
from pathlib import Path
from typing import BinaryIO

from shared.errors import ModelError

#: Largest directory of an archive (bytes); in files of weights each tensor takes a hundred bytes.
MAX_DIRECTORY_BYTES = 8 << 20

_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_MAX_COMMENT = (1 << 16) - 1
#: A 32-bit field with this value refers to the 64-bit field.
_SEE_64_BIT = (1 << 32) - 1


def check_end(path: Path, name: str) -> None:
    """Check that the archive at ``path`` ends with a directory of a plausible size.

    Args:
        path: The archive.
        name: What an error calls it.

    Raises:
        ModelError: Its end is missing, or its directory is too large.
    """
    try:
        with path.open("rb") as file:
            size, offset = _directory(file)
            if size > MAX_DIRECTORY_BYTES:
                raise ModelError(f"{name} has too many parts.")
            file.seek(offset)
            whole = size == 0 or file.read(4) == b"PK\x01\x02"
    except (OSError, ValueError, struct.error) as error:
        raise ModelError(f"{name} is not whole: its end is missing.") from error
    if not whole:
        raise ModelError(f"{name} is not whole: its end is missing.")


def _directory(file: BinaryIO) -> tuple[int, int]:
    """Return the size and offset of an archive's directory; raises ValueError if it has none."""
    length = file.seek(0, os.SEEK_END)
    file.seek(max(0, length - _END.size - _MAX_COMMENT))
    start, tail = file.tell(), file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0:
        raise ValueError("there is no end")
    *_, size, offset, _ = _END.unpack_from(tail, at)
    end = start + at
    if end >= _LOCATOR.size:
        file.seek(end - _LOCATOR.size)
        mark, _, at_64, _ = _LOCATOR.unpack(file.read(_LOCATOR.size))
        if mark == b"PK\x06\x07":
            file.seek(at_64)
            mark, *_, size_64, offset_64 = _END_64.unpack(file.read(_END_64.size))
            if mark != b"PK\x06\x06":
                raise ValueError("there is no end of a large archive")
            size = size_64 if size == _SEE_64_BIT else max(size, size_64)
            offset = offset_64 if offset == _SEE_64_BIT else offset
            end = at_64
    # Other content may precede the archive, which its offsets do not count.
    if size > end:
        raise ValueError("its directory does not fit")
    return size, end - size
