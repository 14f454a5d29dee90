"""Requests written byte by byte, as no client library would send them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from api.http.security_headers import DEFAULTS


class RawConnection:
    """One connection to a server of this machine."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    def send(self, *lines: str, body: bytes = b"") -> None:
        """Send a whole head of these lines, and then ``body``."""
        self.writer.write("".join(f"{line}\r\n" for line in (*lines, "")).encode() + body)

    async def head(self) -> tuple[int, dict[str, str]]:
        """Return the status and the headers of the next answer."""
        async with asyncio.timeout(60):
            text = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        first, *rest = text.split("\r\n")
        pairs = (line.partition(": ") for line in rest if line)
        return int(first.split()[1]), {name.lower(): value for name, _, value in pairs}

    async def body(self, headers: dict[str, str]) -> bytes:
        """Return the body of the answer with these headers."""
        async with asyncio.timeout(60):
            return await self._reader.readexactly(int(headers["content-length"]))

    async def assert_problem(self, status: int) -> dict[str, str]:
        """Check that the next answer is a problem with the headers of every answer; return them."""
        answered, headers = await self.head()
        assert answered == status
        assert headers["content-type"] == "application/problem+json"
        for name, value in DEFAULTS:
            assert headers[name.decode()] == value.decode()
        assert json.loads(await self.body(headers))["status"] == status
        return headers

    async def assert_closed(self) -> None:
        """Check that the server sends no more and closes."""
        async with asyncio.timeout(60):
            with suppress(ConnectionResetError):
                assert await self._reader.read() == b""


@asynccontextmanager
async def raw_connection(port: int) -> AsyncIterator[RawConnection]:
    """Open a connection, and close it when the block is left."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
