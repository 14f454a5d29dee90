"""How busy time is measured."""

import pytest

from tests.support.hand_clock import Clock
from worker.metrics.utilization import BusyTime, UtilizationClock


@pytest.fixture
def now() -> Clock:
    """The time of the clock that the tests advance."""
    return Clock()


def test_two_busy_threads_count_once_and_twice(now: Clock) -> None:
    """While two threads are busy, the time counts once as busy and twice in the sum."""
    clock = UtilizationClock(now)
    now.seconds += 1
    with clock.busy():
        now.seconds += 2
        with clock.busy():
            now.seconds += 4
        now.seconds += 8
    now.seconds += 16
    assert clock.take() == BusyTime(passed_s=31, any_s=14, each_s=18)


def test_work_under_way_counts_so_far(now: Clock) -> None:
    """A call during the work returns the time so far, and the next call the rest."""
    clock = UtilizationClock(now)
    with clock.busy():
        now.seconds += 3
        assert clock.take() == BusyTime(3, 3, 3)
        now.seconds += 2
    assert clock.take() == BusyTime(2, 2, 2)
    assert clock.take() == BusyTime()


def test_work_that_fails_ends(now: Clock) -> None:
    """An error ends the busy time too."""
    clock = UtilizationClock(now)
    with pytest.raises(RuntimeError), clock.busy():
        raise RuntimeError
    now.seconds += 5
    assert clock.take() == BusyTime(5, 0, 0)
