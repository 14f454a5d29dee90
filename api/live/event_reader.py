"""The one reader of the queue's events in an API process, and the sweep for missed events."""

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

#: How long one read of events blocks.
READ_BLOCK_S = 5.0

#: A read that takes this much longer than it blocks is cancelled: its connection is broken.
READ_GRACE_S = 10.0

#: Between two polls of all jobs that clients wait for. They find changes without an event: a stock
#: ``rq worker`` writes none, and the stream keeps only some seconds.
SWEEP_S = 5.0

RECONNECT_S = 0.5

#: How long one consumer may take to poll all of its jobs.
POLL_TIMEOUT_S = 60.0

#: A reader or a sweep that completes no round for this long is stuck: all its waits are bounded,
#: also while Redis is away.
ROUND_TIMEOUT_S = 300.0


class EventConsumer(Protocol):
    """Receives the events that the reader reads."""

    def receive(self, new_events: EventBatch) -> None:
        """Handle new events; returns at once."""

    async def poll(self) -> None:
        """Find changes that had no event; raises ServiceUnavailable."""


class EventReader:
    """Reads the queue's events and passes them to its consumers."""

    def __init__(self, queue: JobQueue, consumers: Sequence[EventConsumer]) -> None:
        self._queue = queue
        self._consumers = consumers
        self._offsets: StreamOffsets | None = None
        #: Whether the last call to Redis succeeded; None before the first.
        self.connected: bool | None = None

    @asynccontextmanager
    async def running(self, vital_tasks: VitalTasks) -> AsyncIterator[None]:
        """Run the reader and the sweep until the block is left."""
        async with AsyncExitStack() as tasks:
            for name, round_ in (("event_reader", self._read), ("sweep", self._sweep)):
                await tasks.enter_async_context(
                    vital_tasks.repeating(name, round_, round_timeout_s=ROUND_TIMEOUT_S)
                )
            yield

    async def _read(self) -> None:
        """Read events once; after any error the next round begins with a poll."""
        offsets, self._offsets = self._offsets, None
        try:
            if offsets is None:
                offsets = await self._queue.offsets()
                self.connected = True
                await self._poll_all()  # finds what happened while no events were read
            async with asyncio.timeout(READ_BLOCK_S + READ_GRACE_S):
                new_events = await self._queue.new_events(offsets, READ_BLOCK_S)
        except (ServiceUnavailable, TimeoutError):
            if self.connected is not False:
                log.warning("event_reader_lost", retry_s=RECONNECT_S)
            self.connected = False
            await asyncio.sleep(RECONNECT_S)
            return
        for consumer in self._consumers:
            try:
                consumer.receive(new_events)
            except Exception as error:  # the next sweep finds what it missed
                _log_failure(consumer, error)
        self._offsets = new_events.offsets

    async def _sweep(self) -> None:
        await asyncio.sleep(SWEEP_S)
        try:
            await self._poll_all()
        except (ServiceUnavailable, TimeoutError):
            return

    async def _poll_all(self) -> None:
        """Let every consumer poll; an error of one does not stop the others."""
        away: ServiceUnavailable | TimeoutError | None = None
        for consumer in self._consumers:
            try:
                async with asyncio.timeout(POLL_TIMEOUT_S):
                    await consumer.poll()
            except (ServiceUnavailable, TimeoutError) as error:
                away = error
            except Exception as error:
                _log_failure(consumer, error)
        if away is not None:
            raise away


def _log_failure(consumer: EventConsumer, error: Exception) -> None:
    log_unexpected_error("event_consumer_failed", error, consumer=type(consumer).__name__)
