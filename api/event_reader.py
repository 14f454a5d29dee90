"""The one reader of the queue's news that an API process has, and the sweep behind it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

import structlog

from shared.errors import ServiceUnavailable
from shared.job_events import News
from shared.job_queue import JobQueue

log = structlog.get_logger()

#: How long one read of the news blocks.
READ_BLOCK_S = 5.0

#: Every so often all jobs that somebody waits for are looked at, for those whose change no event
#: told: a stock ``rq worker`` writes none, and the stream keeps some seconds only.
SWEEP_S = 5.0

RECONNECT_S = 0.5


class Audience(Protocol):
    """Those who are told what the reader hears."""

    def heard(self, news: News) -> None:
        """Take news in; returns at once."""

    async def look_at_all(self) -> None:
        """Look for what no news told; raises ServiceUnavailable."""


class EventReader:
    """Reads the news of the queue and hands them on."""

    def __init__(self, queue: JobQueue, audiences: Sequence[Audience]) -> None:
        self._queue = queue
        self._audiences = audiences
        #: Whether the reader heard from Redis last time it tried.
        self.connected: bool | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the reader and the sweep until the block is left."""
        tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._sweep())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self) -> None:
        while True:
            try:
                after = await self._queue.marks()
                self.connected = True
                await self._look_at_all()  # what happened while nobody read
                while True:
                    news = await self._queue.news(after, READ_BLOCK_S)
                    after = news.marks
                    for audience in self._audiences:
                        audience.heard(news)
            except ServiceUnavailable:
                if self.connected is not False:
                    log.warning("event_reader_lost", retry_s=RECONNECT_S)
                self.connected = False
                await asyncio.sleep(RECONNECT_S)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self._look_at_all()
            except ServiceUnavailable:
                continue

    async def _look_at_all(self) -> None:
        for audience in self._audiences:
            await audience.look_at_all()
