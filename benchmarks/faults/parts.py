"""One process of the service under test, started again when it dies, as by a container engine."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_TETHER = ROOT / "voxelq" / "local" / "parent_death.py"
#: Between a death and the next start: the first, and the longest after many deaths (seconds).
RESTART_S, LONGEST_RESTART_S = 0.1, 2.0
#: A process that lived this long is started again after the shortest pause (seconds).
STEADY_S = 5.0


class Part:
    """A named process that is kept running until :meth:`stop`.

    It dies with this process. What it writes goes to ``log``.
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
        """The process that runs now; waits for one that is about to be started."""
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
        """Send a signal to the process that runs now, if there is one."""
        process = self._process
        if process is not None:
            with suppress(ProcessLookupError):
                process.send_signal(number)

    def wait_for_next(self, starts: int, bound_s: float = 20.0) -> int:
        """Return the process that runs once it was started more than ``starts`` times."""
        with self._changed:
            if not self._changed.wait_for(
                lambda: self._starts > starts and self._process is not None, bound_s
            ):
                raise TimeoutError(f"{self.name} was not started again")
            assert self._process is not None
            return self._process.pid

    def hold(self) -> None:
        """Start it no more when it dies, until :meth:`let_go`."""
        with self._changed:
            self._held = True

    def let_go(self) -> None:
        """Start it again when it dies, and at once if it has."""
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
        calm = not self._keeper.is_alive()
        if not calm:
            self.signal(signal.SIGKILL)
            self._keeper.join()
        return calm

    def _keep(self) -> None:
        pause_s = RESTART_S
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ending or not self._held)
                if self._ending:
                    return
            born = time.monotonic()
            self._run_once()
            if time.monotonic() - born > STEADY_S:
                pause_s = RESTART_S
            with self._changed:
                if self._changed.wait_for(lambda: self._ending, pause_s):
                    return
            pause_s = min(pause_s * 2, LONGEST_RESTART_S)

    def _run_once(self) -> None:
        with self.log.open("ab") as log:
            # the thread that starts a tethered process must outlive it: this one waits for it
            process = subprocess.Popen(
                [sys.executable, "-IS", str(_TETHER), str(os.getpid()), *self._command],
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
