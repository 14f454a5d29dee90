"""SIGTERM or SIGINT while a worker loads its model: it signs off and exits at once.

Loading may stay in native code for long, where Python's own handlers do not run. So a thread reads
the interpreter's wake-up pipe, signs off and ends the process.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Self

import structlog

log = structlog.get_logger()

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class EarlyStop:
    """A context in which such a signal calls ``on_stop`` and ends the process with code 0.

    Enter it in the main thread. The earlier handlers are restored when it is left.
    """

    def __init__(self) -> None:
        #: Called before the process ends.
        self.on_stop: Callable[[], None] = _do_nothing
        self._active = threading.Event()
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)

    def __enter__(self) -> Self:
        self._active.set()
        self._before = {number: signal.signal(number, _ignore) for number in _SIGNALS}
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._wait, name="early-stop", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._active.clear()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        self._writer.close()  # which ends the thread

    def _wait(self) -> None:
        with self._reader:
            while received := self._reader.recv(16):
                if self._active.is_set() and not {*received}.isdisjoint(_SIGNALS):
                    self._leave()

    def _leave(self) -> None:
        log.info("worker_stopped_while_loading")
        try:
            self.on_stop()
        except Exception as error:  # lease expiry will remove this worker
            log.warning("worker_left_silently", error=type(error).__name__)
        sys.stderr.flush()
        os._exit(0)  # the main thread may be in native code


def _ignore(_: int, __: FrameType | None) -> None:
    """Do nothing: the interpreter writes to its wake-up pipe only for signals with a handler."""


def _do_nothing() -> None:
    """Do nothing before the process ends."""
