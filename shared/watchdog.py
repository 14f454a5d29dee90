"""A process that kills its parent when a deadline passes.

A forward pass that hangs in native code cannot stop itself, and no thread beside it can either.
The parent writes ``<seconds>`` to arm, ``off`` to disarm, one a line; when the pipe closes, the
parent is gone and so is the watchdog.
"""

import os
import select
import signal
import subprocess
import sys
import time


class Watchdog:
    """The parent's end: arm before a batch, disarm after it."""

    def __init__(self) -> None:
        self._process = _start()

    def arm(self, seconds: float) -> None:
        """Have this process killed unless it disarms within ``seconds``."""
        self._write(f"{seconds}\n")

    def disarm(self) -> None:
        """Call the watchdog off."""
        self._write("off\n")

    def close(self) -> None:
        """End the watchdog."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def _write(self, line: str) -> None:
        try:
            _send(self._process, line)
        except BrokenPipeError:
            # Somebody killed it, and a batch without a guard could hang for ever.
            self._process.wait()
            self._process = _start()
            _send(self._process, line)


def _start() -> subprocess.Popen[bytes]:
    # A session of its own, so that Ctrl-C on the parent leaves it on guard.
    return subprocess.Popen(  # noqa: S603 - our own module, our own number
        [sys.executable, "-m", "shared.watchdog", str(os.getpid())],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


def _send(process: subprocess.Popen[bytes], line: str) -> None:
    if process.stdin is not None:
        process.stdin.write(line.encode())
        process.stdin.flush()


def guard(parent: int) -> None:
    """Watch over ``parent`` until its pipe on standard input closes."""
    deadline: float | None = None
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select([0], [], [], left)
        if not ready:
            if os.getppid() == parent:  # or it died, and its number may be another's by now
                os.kill(parent, signal.SIGKILL)
            return
        received = os.read(0, 4096)
        if not received:
            return
        last = received.decode().split()[-1]
        deadline = None if last == "off" else time.monotonic() + float(last)


if __name__ == "__main__":
    guard(int(sys.argv[1]))
