"""The files of one scan while it is uploaded: they are all kept, or all deleted."""

import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TypeVar

from api.submission.channel_writer import ChannelWriter
from shared.errors import BadRequest, StoreFull, StoreUnavailable
from shared.settings import Settings
from shared.storage.store import ScanStore

T = TypeVar("T")


class ScanWriter:
    """Writes the channels of one scan, one after the other."""

    def __init__(self, store: ScanStore, settings: Settings, job_id: str) -> None:
        self.job_id = job_id
        #: The channels by the names that the client gave them.
        self.channels: dict[str, ChannelWriter] = {}
        self._store = store
        self._settings = settings
        self._open_files = ExitStack()
        self._lock = threading.Lock()
        self._discarded = False

    def step(self, function: Callable[..., T], *arguments: object) -> T:
        """Return what ``function`` returns, which writes to this scan.

        Raises:
            StoreUnavailable: The scan was discarded: a call that the store delayed came too late.

        """
        with self._lock:
            if self._discarded:
                raise StoreUnavailable("The scan was given up before it was stored.")
            return function(*arguments)

    def open_channel(self, field: str) -> ChannelWriter:
        """Start the channel that the client sent as ``field``."""
        if field in self.channels:
            raise BadRequest(f"The field {field} was sent twice.")
        channel = ChannelWriter(self._store, self._settings, self.job_id, field, self._open_files)
        self.channels[field] = channel
        return channel

    def discard(self) -> None:
        """Delete all that was written, after the step that may be running in another thread."""
        with self._lock:
            self._discarded = True
            with suppress(StoreFull, StoreUnavailable):  # closing a file writes its last bytes
                self._open_files.close()
            self._store.delete_job(self.job_id)
