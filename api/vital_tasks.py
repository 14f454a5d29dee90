"""Tasks that an API process needs for as long as it serves, and whether each still goes on.

An error ends a round and not its task: it is logged by its kind, never by its message, which may
quote a scan. What a round cannot outlive is told by `VitalTasks.failure`, and ends the process.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from shared.telemetry import log_unexpected_error

#: Between a round that failed and the next.
PAUSE_S = 1.0


@dataclass
class _Vital:
    task: "asyncio.Task[None]"
    silent_s: float | None
    last_round_at: float = field(default_factory=time.monotonic)


class VitalTasks:
    """Repeats rounds, each in a task of its own."""

    def __init__(self) -> None:
        self._vital: dict[str, _Vital] = {}

    @asynccontextmanager
    async def repeating(
        self, name: str, round_: Callable[[], Awaitable[None]], *, silent_s: float | None = None
    ) -> AsyncIterator[None]:
        """Repeat ``round_`` until the block is left.

        Args:
            name: What the log and `failure` call it.
            round_: Waits by itself for what it does next.
            silent_s: A round that takes longer is taken for stuck; None where a round may wait
                for ever.

        """
        task = asyncio.create_task(self._repeat(name, round_), name=name)
        self._vital[name] = _Vital(task, silent_s)
        try:
            yield
        finally:
            del self._vital[name]
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @property
    def failure(self) -> str | None:
        """Why this process cannot go on; None while all tasks do."""
        for name, vital in self._vital.items():
            if vital.task.done():
                return f"The task {name} has ended."
            silent_s = time.monotonic() - vital.last_round_at
            if vital.silent_s is not None and silent_s > vital.silent_s:
                return f"The task {name} has made no round for {silent_s:.0f} s."
        return None

    async def _repeat(self, name: str, round_: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await round_()
            except Exception as error:  # the next round may go well
                log_unexpected_error("round_failed", error, task=name)
                await asyncio.sleep(PAUSE_S)
            self._vital[name].last_round_at = time.monotonic()
