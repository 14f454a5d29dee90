"""A process that guards a worker: kills it if it hangs, and reports its death to the queue.

A forward pass that hangs in native code cannot be stopped from inside its process. The guarded
process writes one line for each message: ``<seconds>`` arms the watchdog, ``off`` disarms it, and
``bye`` ends it. If the pipe closes without ``bye``, the guarded process has died, and the watchdog
ends its leases at once instead of when they run out.
"""

import itertools
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

#: The timeout for reporting a death to the queue (seconds); if it fails, the leases run out.
REPORT_TIMEOUT_S = 2.0


class Watchdog:
    """The watchdog as the guarded process uses it. Thread-safe.

    ``worker_id`` is the name of this process in the queue.
    """

    def __init__(self, worker_id: str) -> None:
        self._worker_id = worker_id
        self._process = self._start()
        self._lock = threading.Lock()
        self._deadlines: dict[int, float] = {}
        self._numbers = itertools.count()

    @contextmanager
    def armed(self, seconds: float) -> Iterator[None]:
        """Have this process killed unless it leaves the context within ``seconds``."""
        number = next(self._numbers)
        self._set(number, time.monotonic() + seconds)
        yield
        # Not after an error: the deadline stays armed, because the process may hang while it exits.
        self._set(number, None)

    def close(self) -> None:
        """End the watchdog."""
        self._write("bye\n")
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def _set(self, number: int, deadline: float | None) -> None:
        """Set or remove a deadline, and send the earliest one to the watchdog."""
        with self._lock:
            self._deadlines.pop(number, None)
            if deadline is not None:
                self._deadlines[number] = deadline
            earliest = min(self._deadlines.values(), default=None)
            self._write("off\n" if earliest is None else f"{earliest - time.monotonic()}\n")

    def _write(self, line: str) -> None:
        try:
            _send(self._process, line)
        except BrokenPipeError:
            # The watchdog was killed; without a new one, a batch could hang for ever.
            self._process.wait()
            self._process = self._start()
            _send(self._process, line)

    def _start(self) -> subprocess.Popen[bytes]:
        # In a session of its own, so that Ctrl-C in a terminal does not end it too.
        return subprocess.Popen(  # noqa: S603 - our own module, our own name and number
            [sys.executable, "-m", "shared.queue.watchdog", str(os.getpid()), self._worker_id],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )


def guard(parent: int, worker_id: str) -> None:
    """Guard the process ``parent`` until the pipe on standard input closes."""
    deadline: float | None = None
    last = ""
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select([0], [], [], left)
        if not ready:
            if os.getppid() == parent:  # else it died, and its pid may be another process by now
                os.kill(parent, signal.SIGKILL)
            break
        received = os.read(0, 4096)
        if not received:
            break
        last = received.decode().split()[-1]
        deadline = None if last in ("off", "bye") else time.monotonic() + max(0.0, float(last))
    if last != "bye":
        _report_death(worker_id)


def _report_death(worker_id: str) -> None:
    # Imported here, so that a watchdog needs little memory until it has a death to report.
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError
    from redis.retry import Retry

    from shared.queue.scripts import ABANDON
    from shared.settings import Settings

    with Redis.from_url(
        Settings().redis_url,
        socket_timeout=REPORT_TIMEOUT_S,
        socket_connect_timeout=REPORT_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    ) as redis:
        try:
            ABANDON.run(redis, worker_id)
        except RedisError:
            return  # the leases run out later


def _send(process: subprocess.Popen[bytes], line: str) -> None:
    if process.stdin is not None:
        process.stdin.write(line.encode())
        process.stdin.flush()


if __name__ == "__main__":
    guard(int(sys.argv[1]), sys.argv[2])
