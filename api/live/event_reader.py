"""The one reader of the queue's news that an API process has, and the sweep behind it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

import structlog

from api.vital_tasks import VitalTasks
from shared.errors import ServiceUnavailable
from shared.queue.events import EventBatch, StreamOffsets
from shared.queue.job_queue import JobQueue
from shared.telemetry import log_unexpected_error

log = structlog.get_logger()

#: How long one read of the news blocks.
READ_BLOCK_S = 5.0

#: A read that takes so much longer than it blocks is given up: its connection leads nowhere.
READ_GRACE_S = 10.0

#: Every so often all jobs that somebody waits for are looked at, for those whose change no event
#: told: a stock ``rq worker`` writes none, and the stream keeps some seconds only.
SWEEP_S = 5.0

RECONNECT_S = 0.5

#: How long one audience may take to look at all that it waits for.
LOOK_S = 60.0

#: A reader or a sweep without a round for so long will make none: every wait of theirs is bounded,
#: with Redis away as well.
SILENT_S = 300.0


class Audience(Protocol):
    """Those who are told what the reader hears."""

    def heard(self, new_events: EventBatch) -> None:
        """Take news in; returns at once."""

    async def look_at_all(self) -> None:
        """Look for what no news told; raises ServiceUnavailable."""


class EventReader:
    """Reads the news of the queue and hands them on."""

    def __init__(self, queue: JobQueue, audiences: Sequence[Audience]) -> None:
        self._queue = queue
        self._audiences = audiences
        self._after: StreamOffsets | None = None
        #: Whether the reader heard from Redis last time it tried.
        self.connected: bool | None = None

    @asynccontextmanager
    async def running(self, vital: VitalTasks) -> AsyncIterator[None]:
        """Run the reader and the sweep until the block is left."""
        async with AsyncExitStack() as tasks:
            for name, round_ in (("event_reader", self._read), ("sweep", self._sweep)):
                await tasks.enter_async_context(vital.repeating(name, round_, silent_s=SILENT_S))
            yield

    async def _read(self) -> None:
        """Read the news once; what goes wrong has the next round begin with a look at all."""
        after, self._after = self._after, None
        try:
            if after is None:
                after = await self._queue.offsets()
                self.connected = True
                await self._look_at_all()  # what happened while nobody read
            async with asyncio.timeout(READ_BLOCK_S + READ_GRACE_S):
                new_events = await self._queue.new_events(after, READ_BLOCK_S)
        except (ServiceUnavailable, TimeoutError):
            if self.connected is not False:
                log.warning("event_reader_lost", retry_s=RECONNECT_S)
            self.connected = False
            await asyncio.sleep(RECONNECT_S)
            return
        for audience in self._audiences:
            try:
                audience.heard(new_events)
            except Exception as error:  # the sweep will find what it missed
                _log_failure(audience, error)
        self._after = new_events.offsets

    async def _sweep(self) -> None:
        await asyncio.sleep(SWEEP_S)
        try:
            await self._look_at_all()
        except (ServiceUnavailable, TimeoutError):
            return

    async def _look_at_all(self) -> None:
        """Have every audience look; what one of them cannot take stops no other."""
        away: ServiceUnavailable | TimeoutError | None = None
        for audience in self._audiences:
            try:
                async with asyncio.timeout(LOOK_S):
                    await audience.look_at_all()
            except (ServiceUnavailable, TimeoutError) as error:
                away = error
            except Exception as error:
                _log_failure(audience, error)
        if away is not None:
            raise away


def _log_failure(audience: Audience, error: Exception) -> None:
    log_unexpected_error("audience_failed", error, audience=type(audience).__name__)
