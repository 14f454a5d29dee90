"""One process of the local stack, restarted whenever it ends until it is asked to stop."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 5.0
#: A child that ran this long is restarted with the shortest delay again (seconds).
STEADY_S = 30.0
#: A larger log is rotated when its child is started.
LARGEST_LOG_BYTES = 32 << 20
_PARENT_DEATH = str(Path(__file__).with_name("parent_death.py"))


@dataclass(frozen=True)
class ChildSpec:
    """What to run: ``log`` takes its output, ``pass_fds`` stay open in it."""

    name: str
    command: list[str]
    log: Path
    env: dict[str, str] = field(default_factory=dict)
    pass_fds: tuple[int, ...] = ()


class Child:
    """Starts a process in a session of its own, and restarts it whenever it ends.

    ``on_death`` is called with the exit code (negative: the signal) and the seconds until the
    restart.
    """

    def __init__(self, spec: ChildSpec, on_death: Callable[["Child", int, float], None]) -> None:
        self.name = spec.name
        self.log = spec.log
        self._spec = spec
        self._on_death = on_death
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._keep_alive_task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The id of the running process, or None."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process and keep it running."""
        self._keep_alive_task = asyncio.create_task(self._keep_alive(), name=self.name)

    async def stop(self, bound_s: float) -> bool:
        """Send SIGTERM, then SIGKILL after ``bound_s``; return whether SIGTERM was enough."""
        self._stopping.set()
        if self._keep_alive_task is None:
            return True
        self._signal(signal.SIGTERM)
        done, _ = await asyncio.wait([self._keep_alive_task], timeout=bound_s)
        if not done:
            self.kill()
        await self._keep_alive_task
        return bool(done)

    def kill(self) -> None:
        """Send SIGKILL to the process and to all that it started in its session."""
        self._stopping.set()
        if self._process is not None:
            _kill_group(self._process.pid)

    def restart(self) -> None:
        """Send SIGKILL to the process, which is then restarted as after any other end."""
        if self._process is not None:
            _kill_group(self._process.pid)

    async def _keep_alive(self) -> None:
        delay_s = FIRST_DELAY_S
        while not self._stopping.is_set():
            started = time.monotonic()
            code = await self._run_once()
            if self._stopping.is_set():
                return
            if time.monotonic() - started > STEADY_S:
                delay_s = FIRST_DELAY_S
            self._on_death(self, code, delay_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay_s)
            delay_s = min(delay_s * 2, LONGEST_DELAY_S)

    async def _run_once(self) -> int:
        _rotate(self._spec.log)
        with self._spec.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-IS", _PARENT_DEATH, str(os.getpid()), *self._spec.command,
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **self._spec.env},
                pass_fds=self._spec.pass_fds,
                start_new_session=True,
            )  # fmt: skip
        self._process = process
        if self._stopping.is_set():  # asked to stop while it was being created
            self._signal(signal.SIGTERM)
        code = await process.wait()
        self._process = None
        _kill_group(process.pid)
        return code

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)


def _rotate(log: Path) -> None:
    """Rotate a log that has grown large, as endless restarts would make it."""
    with suppress(FileNotFoundError):
        if log.stat().st_size > LARGEST_LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
