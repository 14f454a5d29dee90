"""Which compute mode is chosen, for any measured times."""

from itertools import product

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from worker.device.compute_mode import (
    LEAST_AGREEMENT,
    PLAIN,
    WORTHWHILE,
    ComputeMode,
    agreement,
    candidates,
    fastest,
)
from worker.models.brain_tumor.phantom import phantom_head

WAYS = candidates(["fp32", "bf16", "fp16"], compiled=True)
positive = st.floats(1e-4, 10)
measured = st.integers(1, 3).flatmap(
    lambda settings: st.lists(
        st.lists(positive, min_size=settings, max_size=settings), min_size=1, max_size=len(WAYS)
    )
)


@given(measured)
def test_nothing_slower_than_the_plainest_mode_is_chosen(times: list[list[float]]) -> None:
    """The chosen mode is the plainest one, or clearly faster."""
    seconds = dict(zip(WAYS, times, strict=False))
    taken = fastest(seconds)
    if taken != PLAIN:
        shares = [own / plain for own, plain in zip(seconds[taken], seconds[PLAIN], strict=True)]
        assert sum(shares) / len(shares) < 1 - WORTHWHILE


@given(measured)
def test_little_is_left_to_gain(times: list[list[float]]) -> None:
    """No mode is faster than the chosen one by more than the margin."""
    seconds = dict(zip(WAYS, times, strict=False))
    costs = {
        way: sum(own / plain for own, plain in zip(taken, seconds[PLAIN], strict=True))
        for way, taken in seconds.items()
    }
    assert costs[fastest(seconds)] * (1 - WORTHWHILE) <= min(costs.values()) * (1 + 1e-9)


def test_modes_to_try() -> None:
    """Each number format is tried plainly; other orders and compiling with the fast ones only."""
    assert candidates(["fp32", "bf16"]) == [
        PLAIN,
        ComputeMode("bf16"),
        ComputeMode("bf16", "channels_last_3d"),
    ]
    assert candidates(["fp16"], compiled=True) == [
        ComputeMode("fp16"),
        ComputeMode("fp16", "channels_last_3d"),
        ComputeMode("fp16", compiled=True),
    ]
    assert len(set(WAYS)) == len(WAYS)


@given(st.data())
def test_agreement_is_the_share_of_voxels(data: st.DataObject) -> None:
    """The agreement of two masks is the share of voxels with the same value."""
    voxels = data.draw(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
    one, other = (np.array(side) for side in zip(*voxels, strict=True))
    assert agreement(one, other) == sum(a == b for a, b in voxels) / len(voxels)
    assert agreement(one, one) == 1


def test_the_phantom_shows_a_lost_lesion() -> None:
    """The phantom's ball is large enough that a mask without it does not agree."""
    for shape in product((48, 96), (64, 112), (48, 96)):
        head = phantom_head(shape)
        ball = head > 160
        assert agreement(np.zeros_like(ball), ball) < LEAST_AGREEMENT - 0.01
        assert head.shape == shape
        assert np.isfinite(head).all()
