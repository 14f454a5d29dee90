"""torch's zip archives, so that what is judged is what is loaded.

torch reads archives by a library of its own, which ignores the case of names and may see another
directory in a file that was made to have two. So an archive is read once, here, judged, and torch
is given one written anew from the parts that were judged.
"""

import io
import zipfile

from shared.errors import ModelError

_ROOT = "network"


def read_parts(content: bytes) -> dict[str, bytes]:
    """Return an archive's parts by their names, without the folder that all of them lie in.

    Raises:
        ModelError: It is not an archive, lies in several folders, or has two parts of one name.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            parts = {name.partition("/")[2]: archive.read(name) for name in names}
    except (zipfile.BadZipFile, ValueError, RuntimeError, NotImplementedError, EOFError) as error:
        raise ModelError("it is not an archive that torch writes.") from error
    roots = {name.partition("/")[0] for name in names}
    if len(roots) != 1 or len({name.lower() for name in parts}) != len(names):
        raise ModelError("it holds parts of one name, or in several folders.")
    return parts


def pack(parts: dict[str, bytes]) -> io.BytesIO:
    """Return an archive of these parts and no others, as torch reads it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in parts.items():
            archive.writestr(f"{_ROOT}/{name}", content)
    buffer.seek(0)
    return buffer
