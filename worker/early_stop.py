"""SIGTERM or SIGINT while a worker loads its model: it leaves at once, and in good order.

Loading may sit in native code for long, where Python's own handlers wait. So the interpreter's
wake-up pipe is read by a thread, which says goodbye and ends the process.
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
    """A context in which such a signal calls ``say_goodbye`` and ends the process with code 0.

    To be entered in the main thread; handlers that were there before are back when it is left.
    """

    def __init__(self) -> None:
        #: What is to be done before the process ends.
        self.say_goodbye: Callable[[], None] = _nothing
        self._active = threading.Event()
        self._ours, self._interpreters = socket.socketpair()
        self._interpreters.setblocking(False)

    def __enter__(self) -> Self:
        self._active.set()
        self._before = {
            number: signal.signal(number, _leave_it_to_the_thread) for number in _SIGNALS
        }
        signal.set_wakeup_fd(self._interpreters.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._wait, name="early-stop", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._active.clear()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        self._interpreters.close()  # which ends the thread

    def _wait(self) -> None:
        with self._ours:
            while received := self._ours.recv(16):
                if self._active.is_set() and not {*received}.isdisjoint(_SIGNALS):
                    self._leave()

    def _leave(self) -> None:
        log.info("worker_stopped_while_loading")
        try:
            self.say_goodbye()
        except Exception as error:  # silence tells the same, only later
            log.warning("worker_left_silently", error=type(error).__name__)
        sys.stderr.flush()
        os._exit(0)  # the main thread may be in native code


def _leave_it_to_the_thread(_: int, __: FrameType | None) -> None:
    """Do nothing here; only where there is a handler does the interpreter wake the thread."""


def _nothing() -> None:
    """Have nothing to do."""
