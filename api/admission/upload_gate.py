"""How many uploads are under way at once, and how slowly one may come.

Both are looked at before or while a body is read: an upload that is refused costs no more than the
bytes that came until then.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.types import Message

from shared.errors import TooManyUploads, UploadTimeout

#: An upload waits so long for one of those under way to end, its body unread (seconds). An honest
#: burst is through in less: a thousand small scans, or three hundred of 8 MB.
SLOT_WAIT_S = 20.0
_RETRY_AFTER_S = 5

#: A body without a byte for so long has stopped.
IDLE_S = 30.0

#: A body's rate is looked at once its bytes were waited for this long.
GRACE_S = 15.0


class UploadGate:
    """Lets up to ``max_uploads`` uploads in at a time."""

    def __init__(self, max_uploads: int) -> None:
        self._max_uploads = max_uploads
        self._slots = asyncio.Semaphore(max_uploads)

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[None]:
        """Hold one slot; raises TooManyUploads if none becomes free in time."""
        try:
            async with asyncio.timeout(SLOT_WAIT_S):
                await self._slots.acquire()
        except TimeoutError as error:
            raise TooManyUploads(
                f"{self._max_uploads} uploads are under way, as many as this process takes at "
                "once. Send the scan again shortly.",
                retry_after_s=_RETRY_AFTER_S,
            ) from error
        try:
            yield
        finally:
            self._slots.release()


class PacedBody:
    """A request's body, given up when it comes too slowly.

    Only the time spent waiting for the client counts: not what a busy store takes.
    """

    def __init__(self, receive: Callable[[], Awaitable[Message]], min_bytes_per_s: int) -> None:
        self._receive = receive
        self._min_bytes_per_s = min_bytes_per_s
        self._waited_s = 0.0
        self._bytes = 0

    async def receive(self) -> Message:
        """Return the next message of the body; raises UploadTimeout."""
        began_at = time.monotonic()
        try:
            async with asyncio.timeout(IDLE_S):
                message = await self._receive()
        except TimeoutError as error:
            raise UploadTimeout(
                f"No byte of the scan came for {IDLE_S:.0f} s, so the upload was given up. "
                "Nothing was kept; send the scan again."
            ) from error
        self._waited_s += time.monotonic() - began_at
        self._bytes += len(message.get("body", b""))
        least_bytes = self._min_bytes_per_s * self._waited_s
        if message.get("more_body") and self._waited_s > GRACE_S and self._bytes < least_bytes:
            raise UploadTimeout(
                f"The scan came more slowly than {self._min_bytes_per_s} bytes a second, so the "
                "upload was given up. Nothing was kept; send it again over a better connection."
            )
        return message
