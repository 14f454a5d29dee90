"""One scan on its way to the store: judged, hashed and written as its bytes come."""

import hashlib
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import IO, TypeVar

from shared.bundles.model_card import ModelCard
from shared.errors import BadRequest, BadScan, StoreFull, StoreUnavailable
from shared.settings import Settings
from shared.storage.decompressed_cache import DecompressedCopy
from shared.storage.store import ScanStore
from shared.volumes.geometry import SAME_GRID_MM, affine_difference_mm
from shared.volumes.inspector import Inspection, ScanInspector
from shared.volumes.nifti_header import VolumeHeader

T = TypeVar("T")

#: The field that a scan may always take where a model has a single input.
SCAN_FIELD = "scan"


class ChannelWriter:
    """One channel on its way to the store. Not thread-safe; blocks on the store."""

    def __init__(
        self, store: ScanStore, settings: Settings, job_id: str, field: str, open_files: ExitStack
    ) -> None:
        self.key = ""
        self.inspection: Inspection | None = None
        self._store = store
        self._job_id = job_id
        self._field = field
        self._open_files = open_files
        self._inspector = ScanInspector(
            max_scan_bytes=settings.max_scan_bytes,
            max_voxels=settings.max_voxels,
        )
        self._unpacking = False
        self._decompressed: DecompressedCopy | None = None
        self._held = b""
        self._file: IO[bytes] | None = None

    @property
    def header_pending(self) -> bool:
        """Whether the header has not been judged yet."""
        return self._inspector.header is None

    def write(self, block: bytes) -> None:
        """Take the next bytes; raises as ScanInspector and ScanStore do."""
        self._store.check_room(len(block))
        for piece in self._inspector.inspect(block):
            if self._inspector.gzipped:
                self._keep(piece.header, piece.content)
        if self._file is None:
            # The key tells whether the scan is gzipped, and the first byte alone does not.
            self._held += block
            if self._inspector.gzipped is None:
                return
            self.key = self._store.scan_key(
                self._job_id, self._field, gzipped=self._inspector.gzipped
            )
            self._file = self._open_files.enter_context(self._store.create(self.key))
            block, self._held = self._held, b""
        try:
            self._file.write(block)
        except OSError as error:
            # The store turns its own errors into ours as its file is closed.
            self._open_files.__exit__(type(error), error, error.__traceback__)
            raise

    def end(self) -> None:
        """Take the channel as whole; raises as ScanInspector and ScanStore do."""
        self.inspection = self._inspector.finish()
        if self._decompressed:
            self._decompressed.finish()
        self._open_files.close()

    def _keep(self, header: VolumeHeader, piece: bytes) -> None:
        """Keep what the scan unpacks to, for a worker that comes soon."""
        if not self._unpacking:
            self._unpacking = True
            key = self._store.scan_key(self._job_id, self._field, gzipped=True)
            size_bytes = header.vox_offset + header.data_bytes
            self._decompressed = self._store.begin_decompressed(key, size_bytes)
            if self._decompressed:
                self._open_files.callback(self._decompressed.abandon)
        if self._decompressed:
            self._decompressed.write(piece)


class ScanWriter:
    """Takes the channels of one scan, one after the other."""

    def __init__(self, store: ScanStore, settings: Settings, job_id: str) -> None:
        self.job_id = job_id
        self._store = store
        self._settings = settings
        self._channels: dict[str, ChannelWriter] = {}
        self._open_files = ExitStack()
        self._one_call = threading.Lock()
        self._discarded = False

    def step(self, take: Callable[[], T]) -> T:
        """Return what ``take`` does to this scan, unless it was discarded meanwhile."""
        with self._one_call:
            if self._discarded:
                raise StoreUnavailable("The scan was given up before it was stored.")
            return take()

    def begin(self, field: str) -> ChannelWriter:
        """Begin the channel that came under the name ``field``."""
        if field in self._channels:
            raise BadRequest(f"The field {field} was sent twice.")
        channel = ChannelWriter(self._store, self._settings, self.job_id, field, self._open_files)
        self._channels[field] = channel
        return channel

    def discard(self) -> None:
        """Delete all that was written, once the call that writes just now has returned."""
        with self._one_call:
            self._discarded = True
            with suppress(StoreFull, StoreUnavailable):  # as a file's last bytes are written
                self._open_files.close()
            self._store.delete_job(self.job_id)

    def channels(self, card: ModelCard) -> dict[str, str]:
        """Return the store key of each input of the model ``card``.

        Raises:
            BadRequest: A field is none of the model's inputs.
            BadScan: A channel is missing, or the channels' grids differ.

        """
        inputs = [channel.name for channel in card.inputs]
        keys = {name: channel.key for name, channel in self._channels.items()}
        if len(inputs) == 1 and SCAN_FIELD in keys and inputs[0] not in keys:
            keys[inputs[0]] = keys.pop(SCAN_FIELD)
        if unknown := sorted(keys.keys() - {*inputs, SCAN_FIELD}):
            raise BadRequest(
                f"{card.name} does not take {', '.join(unknown)}; it takes {', '.join(inputs)}."
            )
        if missing := [name for name in inputs if name not in keys]:
            raise BadScan(
                f"A channel is missing: {', '.join(missing)}. "
                f"{card.name} takes {', '.join(inputs)}, each as a form field of that name "
                "(multipart/form-data)."
            )
        if len(keys) > len(inputs):
            raise BadRequest(f"{card.name} takes {', '.join(inputs)} and no field {SCAN_FIELD}.")
        if len(inputs) > 1 and not card.resample_inputs:
            self._check_grids(inputs)
        return {name: keys[name] for name in inputs}

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes as handed in; of several channels, that of their digests."""
        inspections = self._inspections
        if len(inspections) == 1:
            return next(iter(inspections.values())).sha256
        lines = "".join(f"{name} {seen.sha256}\n" for name, seen in sorted(inspections.items()))
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def _inspections(self) -> dict[str, Inspection]:
        return {
            name: channel.inspection
            for name, channel in self._channels.items()
            if channel.inspection is not None
        }

    def _check_grids(self, inputs: Sequence[str]) -> None:
        headers = {name: seen.header for name, seen in self._inspections.items()}
        first = headers[inputs[0]]
        differences = [
            f"{name} has {difference}"
            for name in inputs[1:]
            if (difference := _grid_difference(headers[name], first)) is not None
        ]
        if differences:
            raise BadScan(
                f"The channels lie in different grids: {'; '.join(differences)} of {inputs[0]}. "
                "Resample them to one grid before you hand them in."
            )


def _grid_difference(header: VolumeHeader, first: VolumeHeader) -> str | None:
    """Say how a channel's grid differs from that of the first one, in numbers."""
    if header.shape != first.shape:
        return f"{_axes(header.shape)} voxels, not the {_axes(first.shape)}"
    gap_mm = affine_difference_mm(header.affine, first.affine)
    if gap_mm > SAME_GRID_MM:
        return f"an affine that differs by up to {gap_mm:.3g} from that"
    return None


def _axes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
