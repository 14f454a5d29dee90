"""The faults of a soak are a pure function of its seed."""

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.faults.schedule import PAUSE_S, Choice, episodes
from benchmarks.faults.soak_faults import soak_faults

SEEDS = st.integers(0, 2**32)
CHOICES = [fault.choice for fault in soak_faults(clock=True).values()]


@given(SEEDS, st.integers(1, 30))
def test_the_same_seed_gives_the_same_faults(seed: int, count: int) -> None:
    """The same seed gives the same faults, however many of them there is time for."""
    first, again = (list(islice(episodes(seed, CHOICES), count)) for _ in range(2))
    assert first == again
    assert list(islice(episodes(seed, CHOICES), count + 5))[:count] == first


@given(SEEDS)
def test_faults_keep_to_what_their_choices_allow(seed: int) -> None:
    """Times are within bounds, and faults that come at once are of different families."""
    by_name = {choice.name: choice for choice in CHOICES}
    for episode in islice(episodes(seed, CHOICES), 20):
        assert PAUSE_S[0] <= episode.pause_s <= PAUSE_S[1]
        families = [by_name[fault.name].family for fault in episode.faults]
        assert 1 <= len(families) == len(set(families)) <= 2
        for fault in episode.faults:
            shortest_s, longest_s = by_name[fault.name].hold_s
            assert shortest_s <= fault.hold_s <= longest_s <= max(longest_s, episode.hold_s)


@given(SEEDS)
def test_a_fault_of_weight_zero_never_comes(seed: int) -> None:
    """Faults are drawn in proportion to their weights."""
    choices = [Choice("often", "one", 1.0), Choice("never", "one", 0.0)]
    drawn = {fault.name for one in islice(episodes(seed, choices), 30) for fault in one.faults}
    assert drawn == {"often"}


def test_every_fault_comes_in_a_long_soak() -> None:
    """400 episodes have every fault at least once."""
    drawn = {fault.name for one in islice(episodes(1, CHOICES), 400) for fault in one.faults}
    assert drawn == {choice.name for choice in CHOICES}
