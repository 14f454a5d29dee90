"""What a local stack needs before it starts: valid settings, a data folder and a port of its own.

Faults that will not pass are reported here, because the running stack retries without end.
"""

import errno
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from shared.settings import Settings
from voxelq.local.valkey import free_port

#: A stack that was just killed frees its port and folder within this time (seconds).
RETRY_S = 3.0


class CannotStart(Exception):
    """The stack cannot run here, because of its settings, its folder or its port."""


def settings() -> Settings:
    """Return the settings that every part will read.

    Raises:
        CannotStart: A setting has a value with which no part would start.
    """
    try:
        return Settings()
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc'])).upper()}: {fault['msg']}"
            for fault in error.errors()
        ]
        raise CannotStart(f"A setting cannot be used. {'; '.join(faults)}.") from error


@contextmanager
def data_folder(path: Path) -> Iterator[int]:
    """Create ``path`` if need be, lock it, and yield the lock's file descriptor.

    Raises:
        CannotStart: Another stack runs on this folder, or it cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise CannotStart(f"{path} cannot be used as a data folder: {error.strerror}.") from error
    try:
        for part in ("logs", "redis", "redis/appendonlydir", "store"):
            folder = path / part
            if folder.exists() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                raise CannotStart(f"{folder} cannot be written by this user. Who made it?")
        if not _try_for(RETRY_S, lambda: fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)):
            raise CannotStart(
                f"Another `voxelq up` runs on {path}. Stop it, or choose another --data-dir."
            )
        yield lock
    finally:
        os.close(lock)


def port(host: str, number: int) -> int:
    """Return ``number`` if the API can listen on it, or a free port for 0.

    Raises:
        CannotStart: The port is in use, or the address is not one of this machine.
    """
    if number == 0:
        return free_port()
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
        if not _try_for(RETRY_S, lambda: _bind_once(family, kind, address)):
            raise CannotStart(f"Port {number} on {host} is in use. Choose another with --port.")
    except OSError as error:
        raise CannotStart(
            f"The service cannot listen on {host}:{number}: {error.strerror}."
        ) from error
    return number


def _bind_once(family: int, kind: int, address: tuple[str | int, ...] | tuple[int, bytes]) -> None:
    with socket.socket(family, kind) as probe:
        # as servers do: a port is free if its last connections only wait to time out
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


def _try_for(seconds: float, attempt: Callable[[], None]) -> bool:
    """Return whether ``attempt`` passed in time; it is retried only while another holds it."""
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
