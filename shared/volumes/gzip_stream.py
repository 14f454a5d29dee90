"""Decompresses gzip in pieces of bounded size, however much the stream decompresses to.

Several members may follow each other (bgzip writes one for every 64 KiB), and zeros may pad the
last one. Each member's checksum and length are verified when its trailer is reached.
"""

from collections.abc import Iterator

from isal import isal_zlib

from shared.errors import BadScan

GZIP_MAGIC = b"\x1f\x8b"

#: The largest piece that is decompressed at once.
PIECE_BYTES = 1 << 20

# The decompressor copies its unread input for every piece that it returns. A short input slice
# keeps that copy small when a stream decompresses to a thousand times its size.
_SLICE_BYTES = 1 << 16

# Each member costs a new decompressor, so members much smaller than bgzip's are refused.
_FREE_MEMBERS = 1024
_MIN_BYTES_PER_MEMBER = 1024

# isal's type stub takes the class for an instance.
_GZIP_ERROR: type[Exception] = isal_zlib.error  # type: ignore[assignment]


class GzipDecompressor:
    """Decompresses one gzip stream that arrives in blocks of any size."""

    def __init__(self) -> None:
        self._member = isal_zlib.decompressobj(wbits=31)
        self._incomplete_magic = b""
        self._within_member = False
        self._members = 0
        self._decompressed_bytes = 0

    def feed(self, block: bytes) -> Iterator[bytes]:
        """Yield the decompressed bytes of ``block``, in pieces of at most ``PIECE_BYTES``.

        Raises:
            BadScan: The stream is damaged, fails a checksum, or is followed by other bytes.

        """
        view = memoryview(block)
        for start in range(0, len(view), _SLICE_BYTES):
            yield from self._decompress(bytes(view[start : start + _SLICE_BYTES]))

    def finish(self) -> None:
        """Check that the stream ended with a complete member.

        Raises:
            BadScan: It is truncated, or is followed by other bytes.

        """
        if self._within_member or self._members == 0:
            raise BadScan("The gzip is truncated: its end is missing.")
        if self._incomplete_magic:
            raise _trailing_garbage()

    def _decompress(self, data: bytes) -> Iterator[bytes]:
        while True:
            if not self._within_member:
                data = self._next_member(data)
                if not self._within_member:
                    return
            try:
                piece = self._member.decompress(data, PIECE_BYTES)
            except _GZIP_ERROR as error:
                raise BadScan("The gzip is damaged: it cannot be decompressed.") from error
            if piece:
                self._decompressed_bytes += len(piece)
                yield piece
            if self._member.eof:
                self._within_member = False
                data = self._member.unused_data
                continue
            data = self._member.unconsumed_tail
            if not data and len(piece) < PIECE_BYTES:
                return

    def _next_member(self, data: bytes) -> bytes:
        """Start the member that ``data`` begins with, once its magic bytes are complete."""
        data = self._incomplete_magic + data
        self._incomplete_magic = b""
        if self._members:
            data = data.lstrip(b"\0")
        if len(data) < len(GZIP_MAGIC):
            if not GZIP_MAGIC.startswith(data):
                raise _trailing_garbage()
            self._incomplete_magic = data
            return b""
        if not data.startswith(GZIP_MAGIC):
            raise _trailing_garbage()
        if self._members > _FREE_MEMBERS + self._decompressed_bytes // _MIN_BYTES_PER_MEMBER:
            raise BadScan("The gzip is cut into too many small members.")
        self._member = isal_zlib.decompressobj(wbits=31)
        self._members += 1
        self._within_member = True
        return data


def _trailing_garbage() -> BadScan:
    return BadScan("Something that is not gzip follows the end of the gzip.")
