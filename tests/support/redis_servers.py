"""Real servers as primary and replica, behind an address that a test can redirect."""

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import redis

from voxelq.local.valkey import EmbeddedServer

PASSWORD = "for-tests"


@dataclass
class RedisServer:
    """A running server with a known port and password."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """The server's own URL."""
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        """Return a plain client."""
        return redis.Redis.from_url(self.url)

    def set(self, name: str, value: str) -> None:
        """Change one setting of the running server."""
        with self.client() as client:
            client.config_set(name, value)

    def follow(self, primary: "RedisServer") -> None:
        """Make it a replica of ``primary``, and return once it has synchronised."""
        with self.client() as client:
            client.replicaof("127.0.0.1", primary.port)
            while client.info("replication")["master_link_status"] != "up":
                time.sleep(0.05)


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[RedisServer]:
    """Run a server with its files in ``folder`` and with further options."""
    embedded = EmbeddedServer(folder)
    port = urlsplit(embedded.url).port
    assert port is not None
    process = subprocess.Popen(
        [*embedded.prepare(), "--requirepass", PASSWORD, "--masterauth", PASSWORD,
         "--repl-diskless-sync-delay", "0", *options],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        server = RedisServer(port, process)
        with server.client() as client:
            while True:
                assert process.poll() is None, "the server did not start"
                with suppress(redis.ConnectionError):
                    client.ping()
                    break
                time.sleep(0.02)
        yield server
    finally:
        process.kill()
        process.wait()


class FollowingAddress:
    """A port that forwards new connections to the server ``to``; open ones keep their server."""

    def __init__(self, to: RedisServer) -> None:
        self.to = to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The URL that clients use."""
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    def close(self) -> None:
        """Stop listening and close every connection."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for end in [self._listener, *self._open]:
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.to.port))
            self._open += [near, far]
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._forward, args=(source, target), daemon=True).start()

    @staticmethod
    def _forward(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
