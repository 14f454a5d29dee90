"""Restarts a process that runs and does not answer: stopped, or with a blocked event loop."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from voxelq.local.process import Child

#: The interval of the probes, and the timeout of each (seconds).
PROBE_S = 5.0
#: A process that has answered before hangs once this many probes in a row get no answer.
HUNG_MISSES = 6
#: A process that was just started may need longer for its first answer.
STARTING_MISSES = 24


class HangWatch:
    """Probes one child for as long as it is kept running.

    ``answers`` returns None where it cannot know, which is not counted. Probes are counted and not
    seconds, so that a stack that was suspended as a whole has missed nothing.
    """

    def __init__(
        self,
        child: Child,
        answers: Callable[[], Awaitable[bool | None]],
        say: Callable[[str], None],
        *,
        probe_s: float = PROBE_S,
        hung_misses: int = HUNG_MISSES,
        starting_misses: int = STARTING_MISSES,
    ) -> None:
        self._child = child
        self._answers = answers
        self._say = say
        self._probe_s = probe_s
        self._hung_misses = hung_misses
        self._starting_misses = starting_misses

    async def run(self) -> None:
        """Probe until cancelled."""
        pid: int | None = None
        misses, most = 0, self._starting_misses
        while True:
            began = time.monotonic()
            answered = await self._probe()
            if self._child.pid != pid or pid is None:
                pid, misses, most = self._child.pid, 0, self._starting_misses
            elif answered:
                misses, most = 0, self._hung_misses
            elif answered is False:
                misses += 1
            if misses >= most:
                silent_s = misses * self._probe_s
                self._say(f"{self._child.name} has not answered for {silent_s:.0f} s and is killed")
                self._child.restart()
                misses = 0
            await asyncio.sleep(max(0.0, began + self._probe_s - time.monotonic()))

    async def _probe(self) -> bool | None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._probe_s):
                return await self._answers()
        return False
