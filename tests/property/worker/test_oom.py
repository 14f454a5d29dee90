"""Which errors count as out of memory, and how the limit of a pass's size follows."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from worker.inference.oom import PASSES_TO_FORGET, PassSizes, is_out_of_memory


def test_the_allocators_own_errors_are_recognised() -> None:
    """The errors of torch and numpy on this machine when memory runs out are recognised."""
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
def test_other_errors_are_not_out_of_memory(error: Exception, expected: bool) -> None:
    """Only torch's errors are recognised by their text, and only by texts about memory."""
    assert is_out_of_memory(error) is expected


@given(
    wanted=st.integers(1, 64),
    events=st.lists(st.tuples(st.booleans(), st.integers(1, 64)), max_size=60),
)
def test_a_limit_is_half_of_what_ran_out_at_most(
    wanted: int, events: list[tuple[bool, int]]
) -> None:
    """A pass has at least one window and at most those wanted; a size that failed is not next."""
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
    """Only after many successful passes at the limit is the double size tried."""
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
