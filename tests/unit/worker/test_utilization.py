"""How busy time is counted, on a clock that a test moves."""

import pytest

from worker.metrics.utilization import Busy, UtilizationClock


class Hand:
    """A clock's hand."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def hand() -> Hand:
    """The hand of a clock that stands."""
    return Hand()


def test_two_at_work_count_once_and_twice(hand: Hand) -> None:
    """While two are at work the time counts once as busy, and twice in the sum over both."""
    clock = UtilizationClock(hand)
    hand.at += 1
    with clock.busy():
        hand.at += 2
        with clock.busy():
            hand.at += 4
        hand.at += 8
    hand.at += 16
    assert clock.take() == Busy(passed_s=31, any_s=14, each_s=18)


def test_what_goes_on_counts_so_far(hand: Hand) -> None:
    """A look in the middle of the work counts what is done, and the next one only the rest."""
    clock = UtilizationClock(hand)
    with clock.busy():
        hand.at += 3
        assert clock.take() == Busy(3, 3, 3)
        hand.at += 2
    assert clock.take() == Busy(2, 2, 2)
    assert clock.take() == Busy()


def test_work_that_fails_ends(hand: Hand) -> None:
    """An error ends the time at work as well."""
    clock = UtilizationClock(hand)
    with pytest.raises(RuntimeError), clock.busy():
        raise RuntimeError
    hand.at += 5
    assert clock.take() == Busy(5, 0, 0)
