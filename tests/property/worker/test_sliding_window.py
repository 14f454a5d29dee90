"""Windows over a volume: every voxel is covered, and blending equals MONAI's."""

import monai.inferers
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from shared.errors import ModelError
from worker.inference.batched_windows import sliding_window
from worker.inference.blending import Blend
from worker.inference.outputs import WholeOutput
from worker.inference.sliding_window import WindowRules, cut, plan_windows

lengths = st.tuples(*[st.integers(3, 19)] * 3)
windows = st.tuples(*[st.sampled_from([-1, 4, 5, 8, 12])] * 3)
overlaps = st.tuples(*[st.sampled_from([0.0, 0.25, 0.5, 0.6, 0.9])] * 3)
sigmas = st.tuples(*[st.sampled_from([0.05, 0.125, 0.4])] * 3)


def network(images: Tensor) -> Tensor:
    """Return two channels that depend on a voxel's value and on its place in the window."""
    ramp = torch.linspace(0, 1, images[0, 0].numel()).reshape(images.shape[2:])
    return torch.cat([images.mean(1, keepdim=True) * ramp, images.amax(1, keepdim=True)], dim=1)


@settings(max_examples=120, deadline=None)
@given(
    shape=lengths,
    roi=windows,
    overlap=overlaps,
    sigma=sigmas,
    mode=st.sampled_from(["constant", "gaussian"]),
    padding=st.sampled_from([("constant", 0.0), ("constant", -1.5), ("replicate", 0.0)]),
    batch=st.integers(1, 5),
)
def test_blending_equals_monai_s(
    shape: tuple[int, int, int],
    roi: tuple[int, int, int],
    overlap: tuple[float, float, float],
    sigma: tuple[float, float, float],
    mode: str,
    padding: tuple[str, float],
    batch: int,
) -> None:
    """For any volume, window, overlap, blending and padding the result is MONAI's to 1e-4."""
    volume = torch.randn((2, *shape), generator=torch.Generator().manual_seed(sum(shape)))
    rules = WindowRules(roi, overlap, mode, sigma, *padding, batch)
    expected = monai.inferers.sliding_window_inference(
        volume[None],
        roi,
        batch,
        network,
        overlap=overlap,
        mode=mode,
        sigma_scale=sigma,
        padding_mode=padding[0],
        cval=padding[1],
    )
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(
        sliding_window(volume, network, rules), expected[0], atol=1e-4, rtol=0
    )


@given(shape=lengths, roi=windows, overlap=overlaps)
def test_every_voxel_is_in_a_window(
    shape: tuple[int, int, int], roi: tuple[int, int, int], overlap: tuple[float, float, float]
) -> None:
    """Windows are inside the padded volume, none is repeated, and every voxel is in one."""
    plan = plan_windows(shape, WindowRules(roi, overlap))
    seen = torch.zeros(plan.padded_shape, dtype=torch.int32)
    for index in range(len(plan.starts)):
        window = cut(seen[None], plan, index)
        assert tuple(window.shape[1:]) == plan.window
        window += 1
    assert int(seen.min()) >= 1
    assert len(set(plan.starts)) == len(plan.starts)


def test_a_result_that_lacks_a_window_is_an_error() -> None:
    """There is no result before every window has its output."""
    rules = WindowRules((4, 4, 4))
    answer = WholeOutput()
    blend = Blend(plan_windows((7, 4, 4), rules), rules, torch.device("cpu"), answer)
    blend.add(torch.ones(1, 4, 4, 4))
    with pytest.raises(RuntimeError, match="not complete"):
        answer.result()


@pytest.mark.parametrize(
    "wrong", [{"mode": "cubic"}, {"padding_mode": "mirror"}, {"overlap": (1.0, 0, 0)},
              {"sw_batch_size": 0}]
)  # fmt: skip
def test_invalid_rules_are_refused(wrong: dict[str, object]) -> None:
    """An invalid mode, padding, overlap or batch size is refused with a reason."""
    with pytest.raises(ModelError):
        WindowRules((4, 4, 4), **wrong)  # type: ignore[arg-type]


def test_a_network_that_changes_the_size_is_refused() -> None:
    """An output of another size than its window is refused with a reason, not blended."""
    with pytest.raises(ModelError, match="keep the window's size"):
        sliding_window(torch.zeros(1, 8, 8, 8), lambda x: x[..., ::2], WindowRules((4, 4, 4)))
