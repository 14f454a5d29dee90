"""A Redis server of a benchmark's own."""

import asyncio
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from voxelq.local.valkey import EmbeddedServer


@contextmanager
def embedded_redis() -> Iterator[str]:
    """Run an embedded server with its append-only file on; yield its URL."""
    with tempfile.TemporaryDirectory() as folder:
        embedded = EmbeddedServer(Path(folder))
        process = subprocess.Popen(embedded.prepare(), stdout=subprocess.DEVNULL)
        try:
            asyncio.run(embedded.answers())
            yield embedded.url
        finally:
            process.terminate()
            process.wait()
