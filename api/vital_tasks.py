"""Background tasks without which an API process is useless, and whether each still runs.

An error ends a round, not its task. It is logged by its type, never by its message, which may quote
a scan. If a task ends or hangs, `VitalTasks.failure` says so, and the process exits.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from shared.telemetry import log_unexpected_error

#: The pause after a round that failed (seconds).
PAUSE_S = 1.0


@dataclass
class _VitalTask:
    task: "asyncio.Task[None]"
    round_timeout_s: float | None
    last_round_at: float = field(default_factory=time.monotonic)


class VitalTasks:
    """Repeats the rounds of each task, and watches that they are completed."""

    def __init__(self) -> None:
        self._tasks: dict[str, _VitalTask] = {}

    @asynccontextmanager
    async def repeating(
        self,
        name: str,
        round_: Callable[[], Awaitable[None]],
        *,
        round_timeout_s: float | None = None,
    ) -> AsyncIterator[None]:
        """Repeat ``round_`` until the block is left.

        Args:
            name: The task's name in the log and in `failure`.
            round_: One round; it waits by itself for its next work.
            round_timeout_s: A round that takes longer is stuck; None if it may wait for ever.

        """
        task = asyncio.create_task(self._repeat(name, round_), name=name)
        self._tasks[name] = _VitalTask(task, round_timeout_s)
        try:
            yield
        finally:
            del self._tasks[name]
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @property
    def failure(self) -> str | None:
        """Why this process cannot go on; None while all tasks run."""
        for name, vital_task in self._tasks.items():
            if vital_task.task.done():
                return f"The task {name} has ended."
            timeout_s = vital_task.round_timeout_s
            since_round_s = time.monotonic() - vital_task.last_round_at
            if timeout_s is not None and since_round_s > timeout_s:
                return f"The task {name} has made no round for {since_round_s:.0f} s."
        return None

    async def _repeat(self, name: str, round_: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await round_()
            except Exception as error:  # the next round may succeed
                log_unexpected_error("round_failed", error, task=name)
                await asyncio.sleep(PAUSE_S)
            self._tasks[name].last_round_at = time.monotonic()
