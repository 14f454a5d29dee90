"""One channel of a scan: each block is checked and hashed, and then stored.

What a gzip holds is decompressed for the check anyway, so it is also written to the decompressed
copy, from which the worker reads.
"""

from contextlib import ExitStack
from typing import IO

from shared.settings import Settings
from shared.storage.decompressed_cache import DecompressedCopy
from shared.storage.faults import translated_errors
from shared.storage.store import ScanStore
from shared.volumes.inspector import Inspection, ScanInspector
from shared.volumes.nifti_stream import NiftiPiece


class ChannelWriter:
    """Writes one channel to the store. Not thread-safe; blocks on the store.

    Its files are closed by ``open_files``, also when the scan is refused.
    """

    def __init__(
        self, store: ScanStore, settings: Settings, job_id: str, field: str, open_files: ExitStack
    ) -> None:
        #: The facts of the channel, once it is complete.
        self.inspection: Inspection | None = None
        self._store = store
        self._job_id = job_id
        self._field = field
        self._open_files = open_files
        self._inspector = ScanInspector(
            max_scan_bytes=settings.max_scan_bytes, max_voxels=settings.max_voxels
        )
        self._file: IO[bytes] | None = None
        self._copy: DecompressedCopy | None = None
        self._copy_considered = False
        self._first_bytes = b""

    @property
    def key(self) -> str:
        """Where the channel is stored; only known once its first bytes have arrived."""
        gzipped = bool(self._inspector.gzipped)
        return self._store.scan_key(self._job_id, self._field, gzipped=gzipped)

    @property
    def header_pending(self) -> bool:
        """Whether the header has not been checked yet."""
        return self._inspector.header is None

    def write(self, block: bytes) -> None:
        """Take the next bytes; raises as ScanInspector and ScanStore do."""
        self._store.check_room(len(block))
        for piece in self._inspector.inspect(block):
            if self._inspector.gzipped:
                self._write_copy(piece)
        self._write_file(block)

    def finish(self) -> None:
        """Complete the channel; raises as ScanInspector and ScanStore do."""
        self.inspection = self._inspector.finish()
        if self._copy is not None:
            self._copy.finish()
        self._open_files.close()

    def _write_file(self, block: bytes) -> None:
        if self._file is None:
            block = self._first_bytes + block
            if self._inspector.gzipped is None:  # one byte is not enough to name the file
                self._first_bytes = block
                return
            self._file = self._open_files.enter_context(self._store.create(self.key))
        with translated_errors():
            self._file.write(block)

    def _write_copy(self, piece: NiftiPiece) -> None:
        if not self._copy_considered:
            self._copy_considered = True
            size_bytes = piece.header.vox_offset + piece.header.data_bytes
            self._copy = self._store.begin_decompressed(self.key, size_bytes)
            if self._copy is not None:
                self._open_files.callback(self._copy.abandon)
        if self._copy is not None:
            self._copy.write(piece.content)
