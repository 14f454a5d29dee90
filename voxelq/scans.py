"""The kinds of scans that a user may submit, each as bytes that can be sent more than once."""

import io
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias, runtime_checkable

from voxelq.images import encode_array, encode_image


@runtime_checkable
class Image(Protocol):
    """A nibabel image: voxels with the affine that maps their indices to RAS+ millimetres."""

    @property
    def dataobj(self) -> Any: ...  # noqa: D102 - nibabel's own names
    @property
    def affine(self) -> Any: ...  # noqa: D102


#: One volume: a path, the bytes of a NIfTI file (gzipped or not), a binary file open for reading,
#: a nibabel image, or an array of shape (X, Y, Z) with its 4 x 4 affine in RAS+ millimetres.
Volume: TypeAlias = str | os.PathLike[str] | bytes | IO[bytes] | Image | tuple[Any, Any]
#: A scan: one volume, or one for each input of a model of several channels.
Scan: TypeAlias = Volume | Mapping[str, Volume]


class Source(Protocol):
    """The bytes of one volume, which can be read again for a retry."""

    def open(self) -> AbstractContextManager[IO[bytes]]:
        """Open them at the start."""

    def size_bytes(self) -> int:
        """Return how many there are."""


@dataclass(frozen=True)
class FileSource:
    """A file on disk, streamed from there."""

    path: Path

    def open(self) -> AbstractContextManager[IO[bytes]]:
        """Open the file; raises OSError."""
        return self.path.open("rb")

    def size_bytes(self) -> int:
        """Return the file's size; raises OSError."""
        return self.path.stat().st_size


@dataclass(frozen=True)
class BytesSource:
    """Bytes in memory."""

    content: bytes

    def open(self) -> AbstractContextManager[IO[bytes]]:
        """Return a reader of the bytes."""
        return io.BytesIO(self.content)

    def size_bytes(self) -> int:
        """Return how many bytes there are."""
        return len(self.content)


@dataclass(frozen=True)
class StreamSource:
    """A caller's open file, read from its position, and left open."""

    stream: IO[bytes]
    start: int

    def open(self) -> AbstractContextManager[IO[bytes]]:
        """Rewind to where the file was when the caller passed it."""
        self.stream.seek(self.start)
        return nullcontext(self.stream)

    def size_bytes(self) -> int:
        """Return the number of bytes from there to the end."""
        return self.stream.seek(0, io.SEEK_END) - self.start


def sources(scan: Scan) -> dict[str, Source] | Source:
    """Return the source of ``scan``, or those of its channels by name.

    Raises:
        OSError: A file cannot be read.
        TypeError: The scan is of no kind that `Scan` names.
        ValueError: An array or its affine has the wrong shape.
        PackageMissing: It is an array or image, and nibabel is not installed.
    """
    if isinstance(scan, Mapping):
        if not scan:
            raise ValueError("The scan is an empty dict; give one volume for each channel.")
        return {str(name): source(volume) for name, volume in scan.items()}
    return source(scan)


def source(volume: Volume) -> Source:
    """Return the source of one volume; raises as `sources` does."""
    if isinstance(volume, str | os.PathLike):
        return FileSource(Path(volume))
    if isinstance(volume, bytes | bytearray | memoryview):
        return BytesSource(bytes(volume))
    if isinstance(volume, tuple) and len(volume) == 2:
        return BytesSource(encode_array(*volume))
    if isinstance(volume, Image):
        return BytesSource(encode_image(volume))
    if hasattr(volume, "read") and not isinstance(volume, io.TextIOBase):
        return _stream_source(volume)
    raise TypeError(
        f"{type(volume).__name__} is no scan. Give a path, bytes, a file opened in binary mode, "
        "a nibabel image, or (array, affine); for several channels a dict of these."
    )


def _stream_source(stream: Any) -> Source:
    if stream.seekable():
        return StreamSource(stream, stream.tell())
    return BytesSource(stream.read())  # a pipe can only be sent again from memory
