"""The body of a submit as its client sends it: framing, size and pace are checked here."""

import asyncio
import time
from enum import Enum, auto

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Message

from shared.errors import ScanTooLarge, UnsupportedMedia, UploadTimeout
from shared.settings import Settings

#: An upload that sends no byte for this long is ended.
IDLE_S = 30.0

#: The rate of an upload is checked once the service has waited this long for its bytes.
GRACE_S = 15.0

# What the boundaries, headers and short fields of a form may add to its scans.
_FORM_OVERHEAD_BYTES = 1 << 16
_MAX_JSON_BYTES = 1 << 16


class Framing(Enum):
    """How a body carries its scan."""

    RAW = auto()  # the body is the scan
    FORM = auto()  # multipart/form-data: one field for each channel
    JSON = auto()  # the body names a scan that the service can read itself


_FRAMINGS = {
    "": Framing.RAW,
    "application/octet-stream": Framing.RAW,
    "application/gzip": Framing.RAW,
    "application/x-gzip": Framing.RAW,
    "multipart/form-data": Framing.FORM,
    "application/json": Framing.JSON,
}


class RequestBody:
    """One body. It is refused by its headers before a byte is read, and while it arrives.

    Only the time spent on waiting for the client counts for the pace, not a slow store.
    """

    def __init__(self, request: Request, settings: Settings) -> None:
        self.content_type = request.headers.get("content-type", "")
        self.framing = _framing(self.content_type)
        #: The length that the client announced; 0 if it announced none.
        self.announced_bytes = int(request.headers.get("content-length", 0))
        self.received_bytes = 0
        self._receive = request.receive
        self._min_bytes_per_s = settings.min_upload_bytes_per_s
        self._waited_s = 0.0
        if self.framing is Framing.JSON:
            self._max_bytes = _MAX_JSON_BYTES
        elif self.framing is Framing.FORM:
            self._max_bytes = settings.max_scan_bytes + _FORM_OVERHEAD_BYTES
        else:
            self._max_bytes = settings.max_scan_bytes
        self._check_size(self.announced_bytes)

    async def receive(self) -> tuple[bytes, bool]:
        """Return the next bytes, and whether more may follow.

        Raises:
            ClientDisconnect: The client closed its connection.
            ScanTooLarge: The body is larger than allowed.
            UploadTimeout: The body arrives too slowly.

        """
        message = await self._next_message()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk, more = message.get("body", b""), message.get("more_body", False)
        self.received_bytes += len(chunk)
        if more:
            self._check_pace()
        self._check_size(self.received_bytes)
        return chunk, more

    async def read(self) -> bytes:
        """Return the whole body; for JSON, which is small. Raises as `receive` does."""
        content = bytearray()
        more = True
        while more:
            chunk, more = await self.receive()
            content += chunk
        return bytes(content)

    async def _next_message(self) -> Message:
        started_at = time.monotonic()
        try:
            async with asyncio.timeout(IDLE_S):
                message = await self._receive()
        except TimeoutError as error:
            raise UploadTimeout(
                f"No byte of the scan came for {IDLE_S:.0f} s, so the upload was given up. "
                "Nothing was kept; send the scan again."
            ) from error
        self._waited_s += time.monotonic() - started_at
        return message

    def _check_pace(self) -> None:
        expected_bytes = self._min_bytes_per_s * self._waited_s
        if self._waited_s > GRACE_S and self.received_bytes < expected_bytes:
            raise UploadTimeout(
                f"The scan came more slowly than {self._min_bytes_per_s} bytes a second, so the "
                "upload was given up. Nothing was kept; send it again over a better connection."
            )

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._max_bytes:
            raise ScanTooLarge(f"The body is larger than {self._max_bytes} bytes.")


def _framing(content_type: str) -> Framing:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in _FRAMINGS:
        raise UnsupportedMedia(
            "Submit a scan as multipart/form-data with a field named scan, as raw bytes "
            "(application/octet-stream or application/gzip), or as application/json "
            'with {"scan_path": "..."} or {"scan_of": "<job id>"}.'
        )
    return _FRAMINGS[media_type]
