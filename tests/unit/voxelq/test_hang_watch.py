"""A process that runs and does not respond is restarted; one that responds is left alone."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from voxelq.local import process
from voxelq.local.hang_watch import HangWatch
from voxelq.local.process import Child, ChildSpec
from voxelq.local.valkey import free_port

#: Sends one byte to each client that connects.
SERVER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    near, _ = listener.accept()
    near.sendall(b"x")
    near.close()
"""


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Return once ``holds`` returns true."""
    async with asyncio.timeout(60):
        while not await holds():  # noqa: ASYNC110 - another process cannot set an event
            await asyncio.sleep(0.02)


@asynccontextmanager
async def watched(
    folder: Path, program: str, port: int, messages: list[str], *, starting_misses: int = 24
) -> AsyncIterator[tuple[Child, Callable[[], Awaitable[bool]]]]:
    """Keep a server alive and watch it, with a probe every tenth of a second."""

    async def answers() -> bool:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                return await reader.read() == b"x"
            finally:
                writer.close()
        return False

    spec = ChildSpec("api", [sys.executable, "-c", program, str(port)], folder / "api.log")
    child = Child(spec, lambda *_: None)
    child.start()
    watching = asyncio.create_task(
        HangWatch(
            child, answers, messages.append, probe_s=0.1, starting_misses=starting_misses
        ).run()
    )
    try:
        yield child, answers
    finally:
        watching.cancel()
        await child.stop(5)


async def test_a_process_that_is_stopped_is_started_again(tmp_path: Path) -> None:
    """A server that no longer responds is killed and replaced, and the log says so."""
    messages: list[str] = []
    async with watched(tmp_path, SERVER, free_port(), messages) as (child, answers):
        await until(answers)
        await asyncio.sleep(0.5)  # so that the watch has seen a response
        assert messages == []
        first = child.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)

        async def another() -> bool:
            return child.pid not in (first, None)

        await until(another)
        await until(answers)
        assert "api has not answered" in messages[0]


async def test_a_process_that_never_answers_gets_longer(tmp_path: Path) -> None:
    """A process that has never responded may be starting; it is killed after more probes."""
    messages: list[str] = []
    program = "import time; time.sleep(3600)"
    async with watched(tmp_path, program, free_port(), messages, starting_misses=8):

        async def killed() -> bool:
            return len(messages) == 2

        await until(killed)
        assert "for 1 s" in messages[0]


async def test_a_process_that_cannot_be_probed_is_left_alone(tmp_path: Path) -> None:
    """A probe without a result is not counted as a miss."""
    messages: list[str] = []
    probes: list[int] = []

    async def unknown() -> None:
        probes.append(1)

    spec = ChildSpec("worker", [sys.executable, "-c", SERVER, str(free_port())], tmp_path / "log")
    child = Child(spec, lambda *_: None)
    child.start()
    watch = HangWatch(child, unknown, messages.append, probe_s=0.02, starting_misses=1)
    watching = asyncio.create_task(watch.run())

    async def often() -> bool:
        return len(probes) > 10

    await until(often)
    watching.cancel()
    await child.stop(5)
    assert messages == []


async def test_a_large_log_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log of a process that is restarted for ever does not fill the disk."""
    monkeypatch.setattr(process, "LARGEST_LOG_BYTES", 10)
    monkeypatch.setattr(process, "FIRST_DELAY_S", 0.01)
    log = tmp_path / "part.log"
    deaths: list[int] = []
    program = "print('a line that is longer than ten bytes')"
    spec = ChildSpec("part", [sys.executable, "-c", program], log)
    child = Child(spec, lambda *_: deaths.append(1))
    child.start()

    async def often() -> bool:
        return len(deaths) >= 3

    await until(often)
    await child.stop(5)
    assert log.read_text().count("\n") <= 1
    assert log.with_suffix(".log.1").exists()
