"""What a local stack needs before it starts: a data folder and a port of its own, and settings.

What would never come right by itself is found here and said, for the stack itself goes on trying.
"""

import errno
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from pydantic import ValidationError

from shared.settings import Settings
from voxelq.local.valkey import free_port

#: A stack that was just killed lets go of its port and folder within this time.
PATIENCE_S = 3.0


class Taken(Exception):
    """The stack cannot run here: its folder, its port, or what it is made of cannot be had."""


#: What the API and a worker cannot start without, and what installs it.
_NEEDED = {"fastapi": "api", "uvicorn": "api", "rq": "worker", "torch": "worker"}


def settings() -> Settings:
    """Return the settings that every part will read.

    Raises:
        Taken: One of them cannot be used, with which no part would ever start.
    """
    try:
        return Settings()
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc'])).upper()}: {fault['msg']}"
            for fault in error.errors()
        ]
        raise Taken(f"A setting cannot be used. {'; '.join(faults)}.") from error


def packages() -> None:
    """Return if all that the parts import is installed.

    Raises:
        Taken: Something is not.
    """
    for name, extra in _NEEDED.items():
        if find_spec(name) is None:
            raise Taken(f"{name} is not installed. Run: pip install 'voxelq[{extra}]'")


@contextmanager
def data_folder(path: Path) -> Iterator[int]:
    """Create ``path`` if need be, lock it, and yield the lock's file descriptor.

    Raises:
        Taken: Another stack runs on this folder, or it cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise Taken(f"{path} cannot be used as a data folder: {error.strerror}.") from error
    try:
        for part in ("logs", "redis", "redis/appendonlydir", "store"):
            folder = path / part
            if folder.exists() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                raise Taken(f"{folder} cannot be written by this user. Who made it?")
        if not _try_for(PATIENCE_S, lambda: fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)):
            raise Taken(
                f"Another `voxelq up` runs on {path}. Stop it, or choose another --data-dir."
            )
        yield lock
    finally:
        os.close(lock)


def port(host: str, number: int) -> int:
    """Return ``number`` if the API can listen on it, or a free port for 0.

    Raises:
        Taken: The port is in use, or the address is not one of this machine.
    """
    if number == 0:
        return free_port()
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
        if not _try_for(PATIENCE_S, lambda: _bind_once(family, kind, address)):
            raise Taken(f"Port {number} on {host} is in use. Choose another with --port.")
    except OSError as error:
        raise Taken(f"The service cannot listen on {host}:{number}: {error.strerror}.") from error
    return number


def _bind_once(family: int, kind: int, address: tuple[str | int, ...] | tuple[int, bytes]) -> None:
    with socket.socket(family, kind) as probe:
        # as servers do: a port whose last connections are only fading away is free
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


def _try_for(seconds: float, attempt: Callable[[], None]) -> bool:
    """Return whether ``attempt`` passed in time; only "somebody has it" is tried again."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            attempt()
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EWOULDBLOCK):
                raise
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        else:
            return True
