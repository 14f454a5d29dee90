"""``python -m api``: run the HTTP service until SIGTERM or Ctrl-C."""

import argparse
import gc
import logging
import resource
import signal
import socket
import sys
from contextlib import suppress

import structlog
import uvicorn

from api.http.connection import BoundedConnection
from api.main import create_app
from shared.allocator import keep_memory
from shared.settings import Settings
from shared.telemetry import configure_logging

log = structlog.get_logger()

#: How long running uploads may take to finish at shutdown; blocked clients are answered at once.
DRAIN_S = 20


class Server(uvicorn.Server):
    """uvicorn, which answers blocked clients before it waits for its connections to close."""

    def __init__(self, settings: Settings, host: str, port: int) -> None:
        self._app = create_app(settings, host=host)
        #: Why the process stopped itself; None if it did not.
        self.failure: str | None = None
        super().__init__(
            uvicorn.Config(
                self._app,
                host=host,
                port=port,
                loop="uvloop",
                http=BoundedConnection,
                ws="none",
                lifespan="on",
                access_log=False,
                log_config=None,
                server_header=False,
                backlog=4096,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=DRAIN_S,
            )
        )

    async def on_tick(self, counter: int) -> bool:
        """Stop also when a vital task has failed, so that a new process replaces this one."""
        if self.failure is None and (failure := self._app.state.vital_tasks.failure) is not None:
            log.critical("vital_task_failed", reason=failure)
            self.failure = failure
        return await super().on_tick(counter) or self.failure is not None

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no new connections, answer blocked clients, and let uploads finish."""
        self._app.state.services.waiters.release()
        self._app.state.services.followers.release()
        await super().shutdown(sockets)


def raise_file_limit() -> None:
    """Raise the limit of open files to its maximum: each blocked client has one open.

    Many shells start with 1,024, which a thousand clients and their scans exceed.
    """
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS reports a limit that it does not allow
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))


def freeze_startup_objects() -> None:
    """Exclude the objects that exist at startup from garbage collection.

    Python runs a full collection once a quarter of the old objects are new to it. The hundred
    thousand objects of the imports would delay that until megabytes of garbage have gathered.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # resets the count of old objects


def main() -> None:
    """Read the arguments and run the service."""
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8080, help="TCP port to listen on")
    arguments = parser.parse_args()
    configure_logging("api")
    keep_memory()
    raise_file_limit()
    # uvicorn sends itself the signal again after it has stopped; the exit code must be 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    server = Server(Settings(), arguments.host, arguments.port)
    freeze_startup_objects()
    server.run()
    if server.failure is not None:
        sys.exit(1)


if __name__ == "__main__":
    main()
