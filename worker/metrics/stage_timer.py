"""Wall times of a batch's stages."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from shared.jobs import Stage
from shared.results import Timings


class StageTimer:
    """Times the stages of a batch from its creation on, without gaps between stages."""

    def __init__(self) -> None:
        self._mark = time.perf_counter()
        #: The duration of each stage that has ended.
        self.seconds = dict.fromkeys(Stage, 0.0)
        self._waited_s = 0.0

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Time a stage."""
        yield
        self.seconds[stage] = self._lap()

    def waited(self) -> None:
        """Count the time since the last stage as time in the queue."""
        self._waited_s += self._lap()

    def _lap(self) -> float:
        now = time.perf_counter()
        self._mark, seconds = now, now - self._mark
        return seconds

    def timings(self, created_at: datetime, began_at: datetime) -> Timings:
        """Return the timings of a job that was ``created_at`` in a batch that ``began_at``."""
        # The clocks of two machines may differ a little, so that the difference may be negative.
        queue = round(max(0.0, (began_at - created_at).total_seconds()) + self._waited_s, 6)
        stages = {stage.value: round(seconds, 6) for stage, seconds in self.seconds.items()}
        return Timings(queue=queue, **stages, total=round(queue + sum(stages.values()), 6))
