"""The bytes of a NIfTI file as they arrive, gzipped or not: its header first, then its voxels."""

from collections.abc import Iterator
from dataclasses import dataclass

from shared.errors import BadScan, UnsupportedMedia
from shared.volumes.gzip_stream import GZIP_MAGIC, GzipDecompressor
from shared.volumes.nifti_header import VolumeHeader


@dataclass(frozen=True, eq=False)
class NiftiPiece:
    """Decompressed bytes of a file whose header is known; the first piece begins with the header.

    ``voxels`` is the part of ``content`` that holds voxels; it may be empty.
    """

    header: VolumeHeader
    content: bytes
    voxels: memoryview


class NiftiStream:
    """Splits a file that arrives in blocks into header and voxels; decompresses gzip first."""

    def __init__(self, max_voxels: int) -> None:
        self.header: VolumeHeader | None = None
        self.gzipped: bool | None = None
        self._max_voxels = max_voxels
        self._decompressor = GzipDecompressor()
        self._first_bytes = b""
        self._prefix = bytearray()
        self._skip_bytes = 0
        self._missing_bytes = 0

    def feed(self, block: bytes) -> Iterator[NiftiPiece]:
        """Yield what ``block`` holds, in pieces of bounded size; reads only as far as iterated.

        Raises as `ScanInspector.inspect` does.
        """
        if self.gzipped is None:
            block = self._first_bytes + block
            if len(block) < len(GZIP_MAGIC):
                self._first_bytes = block
                return
            self.gzipped = block.startswith(GZIP_MAGIC)
        for content in self._decompressor.feed(block) if self.gzipped else (block,):
            piece = self._split(content)
            if piece is not None:
                yield piece

    def finish(self) -> VolumeHeader:
        """Return the header, after the last block; raises unless the file is complete."""
        if self.gzipped is None and not self._first_bytes:
            raise BadScan("The scan is empty: it has no bytes at all.")
        if self.gzipped:
            self._decompressor.finish()
            if self.header is None and not self._prefix:
                raise BadScan("The scan is empty: its gzip holds no bytes.")
        if self.header is None and len(self._prefix) < 4:
            raise UnsupportedMedia("This is neither a NIfTI volume nor a gzip of one.")
        if self.header is None:
            raise BadScan("The scan is truncated: it ends within its header.")
        if self._skip_bytes or self._missing_bytes:
            raise BadScan(
                "The scan is truncated: it holds fewer voxels than its header promises "
                f"({self._skip_bytes + self._missing_bytes} bytes are missing)."
            )
        return self.header

    def _split(self, content: bytes) -> NiftiPiece | None:
        """Split decompressed bytes: the header, then the extensions, then the voxels."""
        if self.header is None:
            self._prefix += content
            self.header = VolumeHeader.parse(bytes(self._prefix), max_voxels=self._max_voxels)
            if self.header is None:
                return None
            content = bytes(self._prefix)
            self._prefix.clear()
            self._skip_bytes = self.header.vox_offset
            self._missing_bytes = self.header.data_bytes
        skipped = min(self._skip_bytes, len(content))
        self._skip_bytes -= skipped
        voxels = memoryview(content)[skipped:]
        if len(voxels) > self._missing_bytes:
            raise BadScan("The scan holds more than its header promises.")
        self._missing_bytes -= len(voxels)
        return NiftiPiece(self.header, content, voxels)
