"""The batching policy."""

from hypothesis import given
from hypothesis import strategies as st

from worker.batching import BatchPolicy, halves

policies = st.builds(
    BatchPolicy,
    max_size=st.integers(1, 64),
    max_latency_s=st.floats(0, 1),
    adaptive=st.booleans(),
)
sizes = st.integers(0, 80)
waits = st.floats(0, 2)


@given(policies, sizes, waits, sizes)
def test_bounds_are_never_passed(
    policy: BatchPolicy, size: int, waited_s: float, previous: int
) -> None:
    """A full batch, an empty one, or one that waited its time never waits on."""
    if policy.wants_more(size=size, waited_s=waited_s, previous_size=previous):
        assert 0 < size < policy.max_size
        assert waited_s < policy.max_latency_s


@given(policies, sizes, waits)
def test_a_lone_client_never_waits_for_company(
    policy: BatchPolicy, size: int, waited_s: float
) -> None:
    """Adaptive batching adds no wait where the last batch had one scan or none."""
    for previous in (0, 1):
        wants = policy.wants_more(size=size, waited_s=waited_s, previous_size=previous)
        assert not (policy.adaptive and wants)


@given(sizes.filter(bool), st.floats(0.001, 1))
def test_a_fixed_window_fills_whatever_came_before(size: int, window_s: float) -> None:
    """Without adaptive batching a batch gathers until it is full or its window is over."""
    policy = BatchPolicy(max_size=81, max_latency_s=window_s, adaptive=False)
    assert policy.wants_more(size=size, waited_s=0, previous_size=0)


@given(st.lists(st.integers(), min_size=2))
def test_halves_lose_nothing_and_shrink(batch: list[int]) -> None:
    """Both halves together are the batch, and each is smaller than it."""
    first, second = halves(batch)
    assert [*first, *second] == batch
    assert 0 < len(second) <= len(first) < len(batch)
