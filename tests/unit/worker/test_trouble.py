"""Pauses of a worker in trouble."""

from tests.support.hand_clock import Clock
from worker.pipeline.trouble import FIRST_PAUSE_S, LONGEST_PAUSE_S, Pause
from worker.queueing.unready_models import UnreadyModels


def lengths(pause: Pause, clock: Clock, count: int) -> list[float]:
    """Return how long each of ``count`` pauses in a row lasts."""
    found = []
    for _ in range(count):
        pause.begin("as told")
        found.append(pause.left_s)
        clock.seconds += pause.left_s
    return found


def test_pauses_grow_up_to_a_bound_and_never_end_for_good() -> None:
    """Each pause is twice the last one, up to the longest, however long the trouble lasts."""
    clock = Clock()
    found = lengths(Pause(clock), clock, 100)
    assert found[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert set(found[10:]) == {LONGEST_PAUSE_S}


def test_a_success_makes_earlier_trouble_forgotten() -> None:
    """The pause after a batch that succeeded is the shortest again; a mere end is no success."""
    clock = Clock()
    pause = Pause(clock)
    lengths(pause, clock, 3)
    pause.end()
    assert lengths(pause, clock, 1) == [8 * FIRST_PAUSE_S]
    pause.end()
    pause.forget()
    assert lengths(pause, clock, 1) == [FIRST_PAUSE_S]


def test_a_success_of_another_batch_ends_no_pause() -> None:
    """While a worker is in trouble, a batch that began before it and goes well changes nothing."""
    clock = Clock()
    pause = Pause(clock)
    pause.begin("as told")
    pause.forget()
    assert pause.reason == "as told"
    clock.seconds += pause.left_s
    assert lengths(pause, clock, 1) == [2 * FIRST_PAUSE_S]


def test_lanes_that_meet_the_same_trouble_lengthen_it_once() -> None:
    """Several batches that fail for one cause are one pause, and only the first is news."""
    pause = Pause(Clock())
    assert [pause.begin("as told") for _ in range(3)] == [True, False, False]
    assert pause.left_s == FIRST_PAUSE_S


def test_only_the_model_that_is_not_ready_is_left_out() -> None:
    """A model's jobs are left alone for a while, and taken again once it has computed a scan."""
    unready = UnreadyModels()
    unready.hold("large@1")
    assert unready.refs == {"large@1"}
    unready.forget("large@1")
    assert unready.refs == frozenset()
