"""The costs of batches that are active at the same time."""

import threading

import pytest

from tests.support.hand_clock import Clock
from tests.support.jobs import submission
from worker.pipeline.outcomes import LeasedJob
from worker.queueing.active_batches import ActiveBatches


def leased(job_id: str) -> LeasedJob:
    """A leased job of this id."""
    return LeasedJob(submission(id=job_id), execution="run", queue="test-model@1.0.0", losses=0)


def test_a_batch_alone_costs_the_time_it_takes() -> None:
    """While no other batch is active, cost and time are the same, after any earlier batches."""
    clock = Clock()
    active = ActiveBatches(clock)
    clock.seconds = 7.0
    batch = active.begin([leased("a")])
    clock.seconds = 9.5
    assert active.finish(batch) == pytest.approx((2.5, 1.0))


def test_batches_side_by_side_share_the_time() -> None:
    """The costs of batches that overlap add up to the time that any was active."""
    clock = Clock()
    active = ActiveBatches(clock)
    first = active.begin([leased("a"), leased("b")])
    clock.seconds = 1.0
    second = active.begin([leased("c")])
    assert active.ids == ("a", "b", "c")
    clock.seconds = 3.0
    first_cost, first_concurrency = active.finish(first)
    clock.seconds = 4.0
    second_cost, second_concurrency = active.finish(second)
    assert first_cost == pytest.approx(1.0 + 2.0 / 2)
    assert first_cost + second_cost == pytest.approx(4.0)
    assert (first_concurrency, second_concurrency) == pytest.approx((3 / 2, 3 / 2))
    assert not active.ids


def test_a_job_that_must_run_alone_waits_for_the_others() -> None:
    """The wait ends when the last batch is finished, and not before."""
    active = ActiveBatches()
    batches = [active.begin([leased(name)]) for name in "ab"]
    waiter = threading.Thread(target=active.wait_until_empty)
    waiter.start()
    active.finish(batches[0])
    waiter.join(0.05)
    assert waiter.is_alive()
    active.finish(batches[1])
    waiter.join(10)
    assert not waiter.is_alive()
