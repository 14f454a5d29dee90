"""One process of the service, started again when it dies, as a container engine does it."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from benchmarks.common.processes import ROOT, WITH_PARENT

#: The pause between a death and the next start: the first one, and the longest one (seconds).
RESTART_S, LONGEST_RESTART_S = 0.1, 2.0
#: After a process that ran for so long, the pause is the shortest again (seconds).
STEADY_S = 5.0


class Part:
    """A named process that is kept running until :meth:`stop`, or until this process ends.

    Its output goes to ``log``.
    """

    def __init__(
        self, name: str, command: list[str], log: Path, environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self._changed = threading.Condition()
        self._ending = self._held = False
        self._keeper = threading.Thread(target=self._keep, name=name)

    @property
    def pid(self) -> int:
        """The id of the running process; waits for one that is about to start."""
        with self._changed:
            self._changed.wait_for(lambda: self._process is not None, 10)
            if self._process is None:
                raise TimeoutError(f"{self.name} is not running")
            return self._process.pid

    @property
    def starts(self) -> int:
        """How often it was started."""
        return self._starts

    def start(self) -> None:
        """Start it and keep it running."""
        self._keeper.start()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the running process, if there is one."""
        process = self._process
        if process is not None:
            with suppress(ProcessLookupError):
                process.send_signal(number)

    def wait_for_next(self, starts: int, bound_s: float = 20.0) -> int:
        """Wait until it was started more than ``starts`` times; return the id of its process."""
        with self._changed:
            if not self._changed.wait_for(
                lambda: self._starts > starts and self._process is not None, bound_s
            ):
                raise TimeoutError(f"{self.name} was not started again")
            assert self._process is not None
            return self._process.pid

    def stop_restarting(self) -> None:
        """Do not start it again when it dies, until :meth:`resume_restarting`."""
        with self._changed:
            self._held = True

    def resume_restarting(self) -> None:
        """Start it again when it dies, or now if it has died."""
        with self._changed:
            self._held = False
            self._changed.notify_all()

    def stop(self, bound_s: float = 30.0) -> bool:
        """End it with SIGTERM, or SIGKILL after ``bound_s``; return whether SIGTERM was enough."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        self._keeper.join(bound_s)
        by_sigterm = not self._keeper.is_alive()
        if not by_sigterm:
            self.signal(signal.SIGKILL)
            self._keeper.join()
        return by_sigterm

    def _keep(self) -> None:
        pause_s = RESTART_S
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ending or not self._held)
                if self._ending:
                    return
            began_s = time.monotonic()
            self._run_once()
            if time.monotonic() - began_s > STEADY_S:
                pause_s = RESTART_S
            with self._changed:
                if self._changed.wait_for(lambda: self._ending, pause_s):
                    return
            pause_s = min(pause_s * 2, LONGEST_RESTART_S)

    def _run_once(self) -> None:
        with self.log.open("ab") as log:
            # the process is killed when the thread that starts it ends: this thread waits for it
            process = subprocess.Popen(
                [*WITH_PARENT, str(os.getpid()), *self._command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd=ROOT,
                start_new_session=True,
            )
        with self._changed:
            self._process = process
            self._starts += 1
            self._changed.notify_all()
        if self._ending:
            process.terminate()
        process.wait()
        with self._changed:
            self._process = None
            self._changed.notify_all()
