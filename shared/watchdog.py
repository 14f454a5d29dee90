"""A process that looks after another: kills it when it hangs, and tells the queue when it dies.

A forward pass that hangs in native code cannot stop itself, and no thread beside it can either.
The guarded process writes ``<seconds>`` to arm, ``off`` to disarm and ``bye`` before it leaves,
one a line. When the pipe closes without ``bye`` it has died, and its leases are ended at once
instead of by silence.
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

#: How long the queue may take to hear of a death (seconds); its leases run out all the same.
LAST_WORDS_S = 2.0


class Watchdog:
    """The guarded process's end. Any thread may call it.

    ``worker_id`` is the name that the queue knows this process by.
    """

    def __init__(self, worker_id: str) -> None:
        self._worker_id = worker_id
        self._process = self._start()
        self._lock = threading.Lock()
        self._deadlines: dict[int, float] = {}
        self._numbers = itertools.count()

    @contextmanager
    def armed(self, seconds: float) -> Iterator[None]:
        """Have this process killed unless it comes out of the context within ``seconds``."""
        number = next(self._numbers)
        self._set(number, time.monotonic() + seconds)
        yield
        # Whoever raises stays on the clock: it has a death to report, or may hang on its way.
        self._set(number, None)

    def close(self) -> None:
        """End the watchdog."""
        self._write("bye\n")
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def _set(self, number: int, deadline: float | None) -> None:
        """Tell the watchdog the earliest deadline, of however many there are."""
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
            # Somebody killed it, and a batch without a guard could hang for ever.
            self._process.wait()
            self._process = self._start()
            _send(self._process, line)

    def _start(self) -> subprocess.Popen[bytes]:
        # A session of its own, so that Ctrl-C on the parent leaves it on guard.
        return subprocess.Popen(  # noqa: S603 - our own module, our own name and number
            [sys.executable, "-m", "shared.watchdog", str(os.getpid()), self._worker_id],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )


def guard(parent: int, worker_id: str) -> None:
    """Watch over ``parent`` until its pipe on standard input closes."""
    deadline: float | None = None
    last = ""
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select([0], [], [], left)
        if not ready:
            if os.getppid() == parent:  # or it died, and its number may be another's by now
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
    # Imported here, for a watchdog should weigh little as long as all is well.
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError
    from redis.retry import Retry

    from shared.queue.scripts import ABANDON
    from shared.settings import Settings

    with Redis.from_url(
        Settings().redis_url,
        socket_timeout=LAST_WORDS_S,
        socket_connect_timeout=LAST_WORDS_S,
        retry=Retry(NoBackoff(), 0),
    ) as redis:
        try:
            ABANDON.run(redis, worker_id)
        except RedisError:
            return  # the leases run out by themselves


def _send(process: subprocess.Popen[bytes], line: str) -> None:
    if process.stdin is not None:
        process.stdin.write(line.encode())
        process.stdin.flush()


if __name__ == "__main__":
    guard(int(sys.argv[1]), sys.argv[2])
