"""When a worker draws nothing: it pauses while its environment is in trouble.

A worker in trouble returns its batches uncharged and draws nothing until a check of its own
succeeds. Where only one model is in trouble, only the jobs of that model are not drawn.
"""

import time
from collections.abc import Callable

import structlog

from worker.pipeline.trouble import Trouble
from worker.queueing.engine import Engine
from worker.queueing.pause import ModelPauses, Pause
from worker.queueing.stop_flag import StopFlag

log = structlog.get_logger()

#: Between two checks of the environment while there is no trouble (seconds).
CHECK_S = 1.0


class Pausing:
    """The pauses of one worker; ``on_change`` is called when the worker pauses or resumes."""

    def __init__(self, engine: Engine, stop: StopFlag, on_change: Callable[[], None]) -> None:
        self._engine = engine
        self._stop = stop
        self._on_change = on_change
        self._pause = Pause()
        self._models = ModelPauses()
        self._check_at = 0.0
        #: Whether the worker stopped by itself, so that a fresh process takes over.
        self.wants_restart = False

    @property
    def reason(self) -> str | None:
        """Why the worker draws nothing; None while it does."""
        return self._pause.reason

    @property
    def skipped_models(self) -> frozenset[str]:
        """``name@version`` of the models whose jobs are not to be drawn yet."""
        return self._models.refs

    def may_draw(self) -> bool:
        """Tell whether the environment lets this worker serve; wait for a while if not."""
        paused = self.reason is not None
        if paused:
            self._stop.wait_until(time.monotonic() + self._pause.left_s)
            if self._stop.requested:
                return False
        elif time.monotonic() < self._check_at:
            return True
        trouble = self._engine.check(thorough=paused)
        self._check_at = time.monotonic() + CHECK_S
        if trouble is not None:
            self.begin(trouble)
            return False
        if paused:
            self._pause.end()
            self._on_change()
            log.info("worker_resumed")
        return True

    def begin(self, trouble: Trouble) -> None:
        """Draw nothing for a while, or nothing of one model, or stop for a fresh process."""
        if trouble.model is not None:
            if self._models.begin(trouble.model):
                log.warning("model_held_back", model=trouble.model, reason=trouble.reason)
            return
        if self._pause.begin(trouble.reason):
            log.error("worker_paused", reason=trouble.reason, restart=trouble.restart)
        self._on_change()
        if trouble.restart:
            self.wants_restart = True
            self._stop.request()

    def reset(self, model_ref: str) -> None:
        """Begin with the shortest pauses next time: a batch of the model has succeeded."""
        self._pause.reset()
        self._models.reset(model_ref)
