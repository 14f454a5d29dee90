"""The body of a submit, streamed from disk: one file raw, or a form with a file for each channel.

No file name is sent, for it may hold a patient's name.
"""

import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote

CHUNK_BYTES = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"

OnProgress = Callable[[int], None]


@dataclass(frozen=True)
class Body:
    """What goes over the wire."""

    headers: dict[str, str]
    chunks: Iterator[bytes]


def body(scan: Path | Mapping[str, Path], files: ExitStack, on_progress: OnProgress | None) -> Body:
    """Open the files of one scan for as long as ``files`` is open, and return their upload.

    Raises:
        OSError: A file cannot be read.
    """
    if isinstance(scan, Path):
        file = files.enter_context(scan.open("rb"))
        headers = {"Content-Type": _media_type(file), "Content-Length": str(_size_bytes(file))}
        return Body(headers, _told(_pieces([file]), on_progress))
    boundary = uuid.uuid4().hex
    parts: list[bytes | IO[bytes]] = []
    for channel, path in scan.items():
        file = files.enter_context(path.open("rb"))
        name = quote(channel, safe=" ")  # as browsers do, so that no name can end the header
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; '
            f'filename="{name}"\r\nContent-Type: {_media_type(file)}\r\n\r\n'
        )
        parts += [head.encode(), file, b"\r\n"]
    parts.append(f"--{boundary}--\r\n".encode())
    length = sum(len(part) if isinstance(part, bytes) else _size_bytes(part) for part in parts)
    headers = {
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "Content-Length": str(length),
    }
    return Body(headers, _told(_pieces(parts), on_progress))


def _pieces(parts: Sequence[bytes | IO[bytes]]) -> Iterator[bytes]:
    for part in parts:
        if isinstance(part, bytes):
            yield part
        else:
            while chunk := part.read(CHUNK_BYTES):
                yield chunk


def _told(chunks: Iterator[bytes], on_progress: OnProgress | None) -> Iterator[bytes]:
    sent_bytes = 0
    for chunk in chunks:
        yield chunk
        sent_bytes += len(chunk)
        if on_progress is not None:
            on_progress(sent_bytes)


def _media_type(file: IO[bytes]) -> str:
    gzipped = file.read(2) == _GZIP_MAGIC
    file.seek(0)
    return "application/gzip" if gzipped else "application/octet-stream"


def _size_bytes(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size
