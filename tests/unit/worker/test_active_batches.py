"""What batches cost that are in hand at the same time."""

import threading

import pytest

from tests.support.hand_clock import Clock
from tests.support.jobs import submission
from worker.pipeline.outcomes import LeasedJob
from worker.queueing.active_batches import ActiveBatches


def claim_of(job_id: str) -> LeasedJob:
    """A claim to a job of this id."""
    return LeasedJob(submission(id=job_id), execution="run", queue="test-model@1.0.0", losses=0)


def test_a_batch_alone_costs_the_time_it_takes() -> None:
    """With nothing beside it, cost and time are the same, whatever came before."""
    clock = Clock()
    in_hand = ActiveBatches(clock)
    clock.seconds = 7.0
    batch = in_hand.enter([claim_of("a")])
    clock.seconds = 9.5
    assert in_hand.leave(batch) == pytest.approx((2.5, 1.0))


def test_batches_side_by_side_share_the_time() -> None:
    """The costs of batches that overlap add up to the time that anything was in hand."""
    clock = Clock()
    in_hand = ActiveBatches(clock)
    first = in_hand.enter([claim_of("a"), claim_of("b")])
    clock.seconds = 1.0
    second = in_hand.enter([claim_of("c")])
    assert in_hand.ids == ("a", "b", "c")
    clock.seconds = 3.0
    first_cost, first_beside = in_hand.leave(first)
    clock.seconds = 4.0
    second_cost, second_beside = in_hand.leave(second)
    assert first_cost == pytest.approx(1.0 + 2.0 / 2)
    assert first_cost + second_cost == pytest.approx(4.0)
    assert (first_beside, second_beside) == pytest.approx((3 / 2, 3 / 2))
    assert not in_hand.ids


def test_whoever_must_run_alone_waits_for_the_others() -> None:
    """The wait ends when the last batch is put down, and not before."""
    in_hand = ActiveBatches()
    batches = [in_hand.enter([claim_of(name)]) for name in "ab"]
    waiter = threading.Thread(target=in_hand.wait_until_empty)
    waiter.start()
    in_hand.leave(batches[0])
    waiter.join(0.05)
    assert waiter.is_alive()
    in_hand.leave(batches[1])
    waiter.join(10)
    assert not waiter.is_alive()
