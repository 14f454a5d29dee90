"""Pauses of a worker in trouble."""

from tests.support.hand_clock import Clock
from worker.queueing.pause import FIRST_PAUSE_S, LONGEST_PAUSE_S, ModelPauses, Pause


def lengths(pause: Pause, clock: Clock, count: int) -> list[float]:
    """Return how long each of ``count`` pauses in a row lasts."""
    seconds = []
    for _ in range(count):
        pause.begin("a fault")
        seconds.append(pause.left_s)
        clock.seconds += pause.left_s
    return seconds


def test_pauses_grow_up_to_a_bound_and_never_end_for_good() -> None:
    """Each pause is twice the last one, up to a bound, for any number of pauses."""
    clock = Clock()
    seconds = lengths(Pause(clock), clock, 100)
    assert seconds[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert set(seconds[10:]) == {LONGEST_PAUSE_S}


def test_a_success_makes_pauses_short_again() -> None:
    """The pause after a batch that succeeded is the shortest; the mere end of a pause is not."""
    clock = Clock()
    pause = Pause(clock)
    lengths(pause, clock, 3)
    pause.end()
    assert lengths(pause, clock, 1) == [8 * FIRST_PAUSE_S]
    pause.end()
    pause.reset()
    assert lengths(pause, clock, 1) == [FIRST_PAUSE_S]


def test_a_success_of_another_batch_ends_no_pause() -> None:
    """While a worker is in trouble, a batch that began before and succeeds changes nothing."""
    clock = Clock()
    pause = Pause(clock)
    pause.begin("a fault")
    pause.reset()
    assert pause.reason == "a fault"
    clock.seconds += pause.left_s
    assert lengths(pause, clock, 1) == [2 * FIRST_PAUSE_S]


def test_lanes_that_meet_the_same_trouble_lengthen_it_once() -> None:
    """Several batches that fail for one cause make one pause, and only the first is new."""
    pause = Pause(Clock())
    assert [pause.begin("a fault") for _ in range(3)] == [True, False, False]
    assert pause.left_s == FIRST_PAUSE_S


def test_only_the_model_that_is_not_ready_is_left_out() -> None:
    """A model's jobs are not drawn during its pause, and drawn again after a success."""
    pauses = ModelPauses()
    pauses.begin("large@1")
    assert pauses.refs == {"large@1"}
    pauses.reset("large@1")
    assert pauses.refs == frozenset()
