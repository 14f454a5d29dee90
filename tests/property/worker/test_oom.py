"""What is out of memory, and what is remembered of it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from worker.inference.oom import PASSES_TO_FORGET, PassSizes, is_out_of_memory


def test_the_allocators_own_errors_are_recognised() -> None:
    """What torch and numpy raise on this machine when memory runs out is known for that."""
    with pytest.raises(RuntimeError) as torch_s:
        torch.empty(1 << 60)
    with pytest.raises(MemoryError) as numpy_s:
        np.empty(1 << 50)
    assert is_out_of_memory(torch_s.value)
    assert is_out_of_memory(numpy_s.value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("The size of tensor a (4) must match"), False),
        (ValueError("out of memory"), False),
        (OSError("Cannot allocate memory"), False),
    ],
)
def test_other_errors_are_not_taken_for_it(error: Exception, expected: bool) -> None:
    """Only torch's errors are judged by their words, and only by those of memory."""
    assert is_out_of_memory(error) is expected


@given(
    wanted=st.integers(1, 64),
    events=st.lists(st.tuples(st.booleans(), st.integers(1, 64)), max_size=60),
)
def test_a_limit_is_half_of_what_ran_out_at_most(
    wanted: int, events: list[tuple[bool, int]]
) -> None:
    """A pass holds at least one and never more than wanted; what ran out is not tried at once."""
    sizes = PassSizes()
    for ran_out, size in events:
        if ran_out:
            sizes.ran_out("kind", size)
            assert sizes.most("kind", size) <= max(1, size // 2)
        else:
            sizes.went_well("kind", size)
        assert 1 <= sizes.most("kind", wanted) <= wanted
    assert sizes.most("another kind", wanted) == wanted
    assert sizes.take_splits() == sum(ran_out for ran_out, _ in events)
    assert sizes.take_splits() == 0


def test_a_limit_is_forgotten_slowly() -> None:
    """The double is tried after many passes at the limit went well; smaller ones prove nothing."""
    sizes = PassSizes()
    sizes.ran_out("kind", 8)
    for _ in range(PASSES_TO_FORGET):
        sizes.went_well("kind", 3)
    assert sizes.most("kind", 8) == 4
    for _ in range(PASSES_TO_FORGET - 1):
        sizes.went_well("kind", 4)
    assert sizes.most("kind", 8) == 4
    sizes.went_well("kind", 4)
    assert sizes.most("kind", 8) == 8
