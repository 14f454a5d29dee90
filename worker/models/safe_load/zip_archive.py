"""torch's zip archives: exactly the parts that were validated are loaded.

torch reads archives with its own library, which ignores the case of names, and may use the other
directory of a file that was made to have two. So an archive is read once, here, and torch gets a
new archive that is written from the parts that were validated.
"""

import io
import zipfile
import zlib
from pathlib import Path

from shared.errors import ModelError

_ROOT = "network"
#: Most parts of an archive. A large network has a few thousand.
_MAX_PARTS = 50_000
#: Most bytes of all compressed parts once decompressed: torch compresses only programs.
_MAX_DECOMPRESSED = 1 << 26
#: What Python raises on a file that is damaged, or not an archive.
_NOT_AN_ARCHIVE = (
    zipfile.BadZipFile, zlib.error, ValueError, RuntimeError, NotImplementedError, EOFError,
)  # fmt: skip


def read_parts(content: bytes) -> dict[str, bytes]:
    """Return an archive's parts by their names, without the folder that all of them are in.

    Raises:
        ModelError: It is not an archive, has several folders, or has two parts of one name.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            _check_sizes(archive.infolist(), len(content))
            parts = {name.partition("/")[2]: archive.read(name) for name in names}
    except _NOT_AN_ARCHIVE as error:
        raise ModelError("it is not an archive that torch writes.") from error
    roots = {name.partition("/")[0] for name in names}
    if len(roots) != 1 or len({name.lower() for name in parts}) != len(names):
        raise ModelError("it holds parts of one name, or in several folders.")
    return parts


def check_archive(path: Path) -> None:
    """Check that the file, if it is an archive, is not far larger once decompressed.

    Raises:
        ModelError: It is larger, or a damaged archive.
        OSError: It cannot be read.
    """
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            _check_sizes(archive.infolist(), path.stat().st_size)
    except _NOT_AN_ARCHIVE as error:
        raise ModelError("it is not an archive that torch writes.") from error


def pack(parts: dict[str, bytes]) -> io.BytesIO:
    """Return an archive of exactly these parts, in the form that torch reads."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in parts.items():
            archive.writestr(f"{_ROOT}/{name}", content)
    buffer.seek(0)
    return buffer


def _check_sizes(parts: list[zipfile.ZipInfo], length: int) -> None:
    """Refuse an archive of ``length`` bytes that is far larger once decompressed.

    Parts may be compressed a thousandfold, and several may share the same bytes of the file.
    """
    stored = sum(part.file_size for part in parts if part.compress_type == zipfile.ZIP_STORED)
    decompressed = sum(part.file_size for part in parts if part.compress_type != zipfile.ZIP_STORED)
    if len(parts) > _MAX_PARTS or stored > length or decompressed > _MAX_DECOMPRESSED:
        raise ModelError("it would be far larger once decompressed.")
