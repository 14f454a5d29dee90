"""How a worker records the progress of its jobs."""

import threading
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.jobs import Stage
from tests.support.jobs import submission
from worker.pipeline.outcomes import LeasedJob
from worker.pipeline.progress import BatchProgress, ProgressBoard, Step
from worker.pipeline.stage_weights import FIRST_SHARES, StageWeights
from worker.queueing import progress_reporter
from worker.queueing.leases import Leases
from worker.queueing.progress_reporter import ProgressReporter

window_shares = st.lists(st.floats(0.01, 1), max_size=6)
seconds = st.lists(st.floats(0, 100), min_size=5, max_size=5)


def leased() -> LeasedJob:
    """A leased job."""
    return LeasedJob(submission(), "run-1", "queue", losses=0)


class RecordingBoard(ProgressBoard):
    """A progress board that records every step."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[Step] = []

    def put(self, steps: object) -> None:
        """Record the step."""
        kept = list(cast("Sequence[Step]", steps))
        self.all += kept
        super().put(kept)


def test_a_board_shows_the_newest_step_only() -> None:
    """Taking returns each job's newest step once, and none of a job that has ended."""
    board, first, second, gone = ProgressBoard(), leased(), leased(), leased()
    board.put([Step(first, Stage.LOAD, 0.0), Step(second, Stage.LOAD, 0.0)])
    board.put([Step(first, Stage.STORE, 0.9), Step(gone, Stage.STORE, 0.9)])
    board.remove([gone])
    assert board.take() == [Step(first, Stage.STORE, 0.9), Step(second, Stage.LOAD, 0.0)]
    board.close()
    assert board.take() == []


@given(window_shares, st.lists(seconds, max_size=4))
def test_progress_never_goes_back(shares: list[float], batches: list[list[float]]) -> None:
    """For any costs of stages, and with repeated windows, a job's progress never falls."""
    weights, board, one = StageWeights(), RecordingBoard(), leased()
    for batch in batches:
        weights.observe("model@1", dict(zip(Stage, batch, strict=True)))
    progress = BatchProgress(board, weights.spans("model@1"))
    for stage in Stage:
        progress.begin(stage, [one])
        if stage is Stage.INFERENCE:
            (on_share,) = progress.on_shares([one])
            for share in shares:
                on_share(share)
    noted = [step.progress for step in board.all]
    assert all(before <= after for before, after in pairwise(noted))
    assert noted[0] == 0
    assert noted[-1] <= 1
    assert list(dict.fromkeys(step.stage for step in board.all)) == list(Stage)


@given(st.lists(seconds, max_size=5))
def test_stages_share_the_progress(batches: list[list[float]]) -> None:
    """Each stage begins at the end of the one before; the first begins at 0, the last ends at 1."""
    weights = StageWeights()
    for batch in batches:
        weights.observe("model@1", dict(zip(Stage, batch, strict=True)))
    spans = weights.spans("model@1")
    assert list(spans) == list(Stage)
    for (_, end), (begin, _) in pairwise(spans.values()):
        assert end == begin
    assert spans[Stage.LOAD][0] == 0
    assert spans[Stage.STORE][1] == pytest.approx(1)


def test_shares_are_learnt_for_each_model() -> None:
    """A model's stages get the shares of their measured times; other models keep the default."""
    weights = StageWeights()
    weights.observe("slow@1", dict(zip(Stage, [1, 1, 16, 1, 1], strict=True)))
    low, high = weights.spans("slow@1")[Stage.INFERENCE]
    assert (low, high) == pytest.approx((0.1, 0.9))
    weights.observe("slow@1", dict(zip(Stage, [1, 1, 1, 1, 1], strict=True)))
    low, high = weights.spans("slow@1")[Stage.INFERENCE]
    assert high - low == pytest.approx(0.8 * 0.8 + 0.2 * 0.2)
    low, high = weights.spans("other@1")[Stage.INFERENCE]
    assert high - low == pytest.approx(FIRST_SHARES[Stage.INFERENCE])


class FakeLeases:
    """Receives reports; the first ``away`` of them fail."""

    def __init__(self, on_report: Callable[[Sequence[Step]], None], away: int = 0) -> None:
        self._on_report = on_report
        self._away = away

    def update_progress(self, steps: Sequence[Step]) -> int:
        """Record the updates, or fail."""
        if self._away:
            self._away -= 1
            raise RedisConnectionError("as scripted")
        self._on_report(steps)
        return len(steps)


def test_many_steps_make_few_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """All steps between two reports are in one report, which has the newest of each job."""
    monkeypatch.setattr(progress_reporter, "REPORT_EVERY_S", 60.0)
    received: list[Sequence[Step]] = []
    first_received = threading.Event()

    def receive(steps: Sequence[Step]) -> None:
        received.append(steps)
        first_received.set()

    board, one, other = ProgressBoard(), leased(), leased()
    thread = ProgressReporter(cast("Leases", FakeLeases(receive)), board)
    thread.start()
    board.put([Step(one, Stage.LOAD, 0.0)])
    assert first_received.wait(60)
    for number in range(1000):
        board.put([Step(one, Stage.INFERENCE, number / 1000), Step(other, Stage.LOAD, 0.0)])
    thread.stop()
    assert received == [[Step(one, Stage.LOAD, 0.0)]]
    assert board.take() == [Step(one, Stage.INFERENCE, 0.999), Step(other, Stage.LOAD, 0.0)]


def test_a_reporter_outlives_a_redis_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that failed is dropped, and the next one is sent."""
    monkeypatch.setattr(progress_reporter, "REPORT_EVERY_S", 0.0)
    received = threading.Event()
    board, one = ProgressBoard(), leased()
    thread = ProgressReporter(cast("Leases", FakeLeases(lambda _: received.set(), away=2)), board)
    thread.start()
    while not received.wait(0.001):
        board.put([Step(one, Stage.INFERENCE, 0.5)])
    thread.stop()
