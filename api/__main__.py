"""``python -m api``: serve the front desk until SIGTERM or Ctrl-C."""

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

#: Uploads under way get this long to end; blocked clients are let go at once.
DRAIN_S = 20


class Server(uvicorn.Server):
    """uvicorn, letting clients that wait go before it waits for its connections."""

    def __init__(self, settings: Settings, host: str, port: int) -> None:
        self._app = create_app(settings, host=host)
        #: Why the process ended itself, if it did.
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
        """Stop as well once a vital task cannot go on, so that a fresh process takes over."""
        if self.failure is None and (failure := self._app.state.vital.failure) is not None:
            log.critical("process_given_up", reason=failure)
            self.failure = failure
        return await super().on_tick(counter) or self.failure is not None

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: no new connections, waiting clients let go, uploads ended."""
        self._app.state.services.waiter.release()
        self._app.state.services.followers.release()
        await super().shutdown(sockets)


def raise_file_limit() -> None:
    """Take as many open files as the system grants: a blocked client is one of them.

    Many shells start with 1,024, which a thousand clients and their scans exceed.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS names a limit that it does not grant
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def pass_over_the_start() -> None:
    """Have garbage collections pass over what was there from the start.

    Old garbage, such as that of clients who blocked for a while, is collected once it makes a
    quarter of all that is old. The hundred thousand objects of the imports put that off until
    there are megabytes of it.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # counts anew what is old


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8080, help="TCP port to listen on")
    arguments = parser.parse_args()
    configure_logging("api")
    keep_memory()
    raise_file_limit()
    # uvicorn raises a signal again once it has stopped for it; a drained stop is a success.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    server = Server(Settings(), arguments.host, arguments.port)
    pass_over_the_start()
    server.run()
    if server.failure is not None:
        sys.exit(1)


if __name__ == "__main__":
    main()
