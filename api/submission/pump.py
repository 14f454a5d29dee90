"""Moves a scan from its source into its writer, block by block, in the threads for uploads.

The event loop never waits for the store, and a thread never waits for a client.
"""

from collections.abc import Iterator
from typing import Protocol

from api.submission.request_body import RequestBody
from api.submission.scan_writer import ScanWriter
from api.thread_pools import ThreadPool

#: Bytes that one call in a thread takes.
BLOCK_BYTES = 1 << 20


class Sink(Protocol):
    """Takes the bytes of a body: one channel, or a form that holds several."""

    @property
    def header_pending(self) -> bool:
        """Whether the next bytes may show that the scan must be refused."""

    def write(self, block: bytes) -> None:
        """Take the next bytes; blocks on the store."""

    def finish(self) -> None:
        """Check that the body is complete, after its last byte; blocks on the store."""


async def pump_body(body: RequestBody, sink: Sink, writer: ScanWriter, threads: ThreadPool) -> None:
    """Write ``body`` to ``sink``, in blocks of 1 MiB.

    While a scan's header is pending each chunk is written as it arrives, so that a scan is refused
    by its header before the rest of its bytes.
    """
    chunks: list[bytes] = []
    chunks_bytes = 0
    more = True
    while more:
        chunk, more = await body.receive()
        chunks.append(chunk)
        chunks_bytes += len(chunk)
        if not more or chunks_bytes >= BLOCK_BYTES or (chunk and sink.header_pending):
            await threads.run(writer.step, _write, sink, b"".join(chunks), not more)
            chunks.clear()
            chunks_bytes = 0


async def pump_blocks(
    blocks: Iterator[bytes], field: str, writer: ScanWriter, threads: ThreadPool
) -> None:
    """Write ``blocks``, which are read in the threads too, as the channel ``field``."""
    channel = writer.open_channel(field)

    def write_next() -> bool:
        block = next(blocks, None)
        if block is None:
            channel.finish()
        else:
            channel.write(block)
        return block is not None

    while await threads.run(writer.step, write_next):
        pass


def _write(sink: Sink, block: bytes, is_last: bool) -> None:
    sink.write(block)
    if is_last:
        sink.finish()
