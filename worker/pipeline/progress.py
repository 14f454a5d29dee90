"""How far active jobs have come: the lanes put steps on a board, and the reporter sends them."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from shared.jobs import Stage
from worker.inference.progress import OnProgress
from worker.pipeline.outcomes import LeasedJob

#: Where each stage begins and ends, as shares of all the work on a scan.
Spans = Mapping[Stage, tuple[float, float]]


@dataclass(frozen=True)
class Step:
    """How far a job has come: its stage, and the share of all work that is done, 0 to 1."""

    job: LeasedJob
    stage: Stage
    progress: float


class ProgressBoard:
    """The newest step of each job, until the reporter takes it; thread-safe."""

    def __init__(self) -> None:
        self._steps: dict[str, Step] = {}
        self._closed = False
        self._changed = threading.Condition()

    def put(self, steps: Iterable[Step]) -> None:
        """Add steps, each in place of an earlier one of its job."""
        with self._changed:
            self._steps |= {step.job.id: step for step in steps}
            self._changed.notify()

    def remove(self, jobs: Iterable[LeasedJob]) -> None:
        """Remove the steps of jobs that have ended."""
        with self._changed:
            for job in jobs:
                self._steps.pop(job.id, None)

    def take(self) -> list[Step]:
        """Wait for steps; return all that were not taken before, or none when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._steps or self._closed)
            steps, self._steps = self._steps, {}
        return list(steps.values())

    def close(self) -> None:
        """Wake the thread that waits for steps."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class BatchProgress:
    """The progress of one batch's jobs, which never decreases."""

    def __init__(self, board: ProgressBoard, spans: Spans) -> None:
        self._board = board
        self._spans = spans
        self._most: dict[str, float] = {}

    def begin(self, stage: Stage, jobs: Iterable[LeasedJob]) -> None:
        """Record that these jobs begin a stage."""
        low, _ = self._spans[stage]
        self._board.put(Step(job, stage, low) for job in jobs)

    def on_shares(self, jobs: Sequence[LeasedJob]) -> list[OnProgress]:
        """Return for each job a callback for the share of its windows that is computed."""
        return [self._on_share(job) for job in jobs]

    def _on_share(self, job: LeasedJob) -> OnProgress:
        low, high = self._spans[Stage.INFERENCE]

        def put(share: float) -> None:
            # A pass that failed is run again in halves, with all of its windows.
            most = self._most[job.id] = max(self._most.get(job.id, 0.0), share)
            step = Step(job, Stage.INFERENCE, low + (high - low) * most)
            self._board.put([step])

        return put
