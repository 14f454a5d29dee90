"""How far the jobs in hand have come: what the lanes note, for the reporter to tell."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from shared.jobs import Stage
from worker.inference.progress import OnProgress
from worker.pipeline.outcomes import LeasedJob

#: Where each stage begins and ends, as shares of all that is to be done.
Spans = Mapping[Stage, tuple[float, float]]


@dataclass(frozen=True)
class Step:
    """How far a job has come: in which stage it is, and how much of all is done, 0 to 1."""

    job: LeasedJob
    stage: Stage
    progress: float


class ProgressBoard:
    """The newest step of each job, until somebody takes it. Any thread may note and take."""

    def __init__(self) -> None:
        self._steps: dict[str, Step] = {}
        self._closed = False
        self._changed = threading.Condition()

    def note(self, steps: Iterable[Step]) -> None:
        """Put steps up, each in place of an earlier one of its job."""
        with self._changed:
            self._steps |= {step.job.id: step for step in steps}
            self._changed.notify()

    def drop(self, jobs: Iterable[LeasedJob]) -> None:
        """Take down what there is of these jobs: they are done with."""
        with self._changed:
            for job in jobs:
                self._steps.pop(job.id, None)

    def take(self) -> list[Step]:
        """Return all steps that nobody took, once there are any; none when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._steps or self._closed)
            steps, self._steps = self._steps, {}
        return list(steps.values())

    def close(self) -> None:
        """Let whoever waits for steps go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class BatchProgress:
    """One batch's way over the board; what it notes of a job never goes back."""

    def __init__(self, board: ProgressBoard, spans: Spans) -> None:
        self._board = board
        self._spans = spans
        self._most: dict[str, float] = {}

    def enter(self, stage: Stage, jobs: Iterable[LeasedJob]) -> None:
        """Note that these jobs begin a stage."""
        low, _ = self._spans[stage]
        self._board.note(Step(job, stage, low) for job in jobs)

    def on_shares(self, jobs: Sequence[LeasedJob]) -> list[OnProgress]:
        """Return for each job what is to be told its share of the network's windows."""
        return [self._on_share(job) for job in jobs]

    def _on_share(self, job: LeasedJob) -> OnProgress:
        low, high = self._spans[Stage.INFERENCE]

        def note(share: float) -> None:
            # A pass that failed is run again in halves, and its windows with it.
            most = self._most[job.id] = max(self._most.get(job.id, 0.0), share)
            step = Step(job, Stage.INFERENCE, low + (high - low) * most)
            self._board.note([step])

        return note
