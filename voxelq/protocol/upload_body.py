"""The body of a submit: one volume raw, or a form with a field for each channel.

No file name is sent, because it may contain a patient's name.
"""

import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from urllib.parse import quote

import httpx
from anyio import to_thread

from voxelq.scans import Scan, Source, sources

CHUNK_BYTES = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"


class UploadBody(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A scan as a stream that httpx can send more than once: each iteration starts again.

    Args:
        scan: The scan, as `voxelq.scans.Scan` names its kinds.

    Raises:
        OSError: A file cannot be read.
        TypeError: The scan is of no supported kind.
        ValueError: An array or its affine has the wrong shape.
        PackageMissing: It is an array or image, and nibabel is not installed.
    """

    def __init__(self, scan: Scan) -> None:
        found = sources(scan)
        self._parts: list[bytes | Source] = []
        if isinstance(found, Mapping):
            boundary = uuid.uuid4().hex
            self._media_type = f"multipart/form-data; boundary={boundary}"
            for name, source in found.items():
                self._parts += [_part_head(boundary, name, source), source, b"\r\n"]
            self._parts.append(f"--{boundary}--\r\n".encode())
        else:
            self._media_type = _media_type(found)
            self._parts.append(found)

    def headers(self) -> dict[str, str]:
        """Return the headers that describe the body; raises OSError."""
        length = sum(
            len(part) if isinstance(part, bytes) else part.size_bytes() for part in self._parts
        )
        return {"Content-Type": self._media_type, "Content-Length": str(length)}

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            if isinstance(part, bytes):
                yield part
                continue
            with part.open() as file:
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = iter(self)
        while (chunk := await to_thread.run_sync(next, chunks, None)) is not None:
            yield chunk


def _part_head(boundary: str, name: str, source: Source) -> bytes:
    quoted = quote(name, safe=" ")  # as browsers do, so that no name can end the header
    return (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{quoted}"; '
        f'filename="{quoted}"\r\nContent-Type: {_media_type(source)}\r\n\r\n'
    ).encode()


def _media_type(source: Source) -> str:
    with source.open() as file:
        gzipped = file.read(2) == _GZIP_MAGIC
    return "application/gzip" if gzipped else "application/octet-stream"
