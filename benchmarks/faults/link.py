"""A TCP proxy between two parts of a service, which can break and delay its connections."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

T = TypeVar("T")

_PIECE_BYTES = 1 << 16


class Link:
    """Listens on a free port of loopback and forwards connections to ``target``.

    A fault lasts until its block ends. ``target`` may be changed at any time, with effect on new
    connections.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self._delay_s = 0.0
        self._refusing = False
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._open.set()
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="link")
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """End every connection and stop listening."""

        async def end() -> None:
            self._server.close()
            self._abort()
            self._open.set()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        self._call(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def drop(self) -> None:
        """Reset every connection; new ones are accepted."""
        self._do(self._abort)

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Reset every connection, and reset new ones too, until the block ends."""
        self._refusing = True
        self.drop()
        try:
            yield
        finally:
            self._refusing = False

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Forward nothing until the block ends and close nothing; what was sent arrives late."""
        self._do(self._open.clear)
        try:
            yield
        finally:
            self._do(self._open.set)

    @contextmanager
    def half_closed(self) -> Iterator[None]:
        """Close the server's side of every connection and refuse new ones, until the block ends."""
        self._refusing = True

        def shut() -> None:
            for client, _ in self._pairs:
                with suppress(OSError, RuntimeError):
                    client.write_eof()

        self._do(shut)
        try:
            yield
        finally:
            self._refusing = False
            self.drop()

    @contextmanager
    def slow(self, delay_s: float) -> Iterator[None]:
        """Delay everything by ``delay_s`` until the block ends."""
        self._delay_s = delay_s
        try:
            yield
        finally:
            self._delay_s = 0.0

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:
            pass  # the link is closed
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            return
        await self._open.wait()
        try:
            to_reader, to_writer = await asyncio.open_connection(*self.target)
        except OSError:
            return
        pair = (writer, to_writer)
        self._pairs.add(pair)
        directions = [
            asyncio.ensure_future(self._forward(reader, to_writer)),
            asyncio.ensure_future(self._forward(to_reader, writer)),
        ]
        try:
            await asyncio.wait(directions)
        finally:
            for direction in directions:
                direction.cancel()
            self._pairs.discard(pair)
            to_writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(_PIECE_BYTES):
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                await self._open.wait()
                writer.write(piece)
                await writer.drain()
            writer.write_eof()
        except (OSError, RuntimeError):
            writer.transport.abort()

    def _abort(self) -> None:
        for pair in self._pairs:
            for writer in pair:
                writer.transport.abort()

    def _do(self, action: Callable[[], None]) -> None:
        async def act() -> None:
            action()

        self._call(act())

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)
