"""How many uploads one process receives at once; the others wait before their body is read."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.errors import TooManyUploads

#: How long an upload waits for a slot (seconds). A normal burst needs less: a thousand small scans,
#: or three hundred of 8 MB.
SLOT_WAIT_S = 20.0
_RETRY_AFTER_S = 5


class UploadGate:
    """Admits up to ``max_uploads`` uploads at a time."""

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
