"""Windows of several scans in shared passes: the same outputs, in order, in bounded memory."""

import gc

import monai.inferers
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from shared.errors import ModelError
from worker.inference.batched_windows import WindowedScan, run_windows, sliding_window
from worker.inference.forward_pass import PassContext, ScanInput
from worker.inference.oom import PassSizes
from worker.inference.outputs import WholeOutput
from worker.inference.sliding_window import WindowRules, plan_windows

CPU = torch.device("cpu")
shapes = st.lists(st.tuples(*[st.integers(3, 15)] * 3), min_size=1, max_size=5)
windows = st.tuples(*[st.sampled_from([-1, 4, 7])] * 3)


def network(images: Tensor) -> Tensor:
    """Return two channels that depend on a voxel's value and on its place in the window."""
    ramp = torch.linspace(0, 1, images[0, 0].numel()).reshape(images.shape[2:])
    return torch.cat([images * ramp, images.exp()], dim=1)


def volumes_of(*shapes: tuple[int, int, int]) -> list[Tensor]:
    """Return random volumes of one channel."""
    generator = torch.Generator().manual_seed(7)
    return [torch.randn((1, *shape), generator=generator) for shape in shapes]


def scans_of(volumes: list[Tensor], rules: WindowRules) -> list[WindowedScan]:
    """Scans with a sink each."""
    return [WindowedScan(ScanInput(volume, WholeOutput()), rules) for volume in volumes]


def output_of(scan: WindowedScan) -> Tensor:
    """Return the output in the scan's sink."""
    assert isinstance(scan.scan.sink, WholeOutput)
    return scan.scan.sink.result()


@settings(max_examples=80, deadline=None)
@given(
    shapes=shapes,
    roi=windows,
    overlap=st.sampled_from([0.0, 0.25, 0.6]),
    mode=st.sampled_from(["constant", "gaussian"]),
    batch=st.integers(1, 6),
)
def test_sharing_passes_changes_no_output(
    shapes: list[tuple[int, int, int]],
    roi: tuple[int, int, int],
    overlap: float,
    mode: str,
    batch: int,
) -> None:
    """A scan that shares passes gets the output that MONAI gives for it alone, to 1e-5."""
    rules = WindowRules(roi, (overlap,) * 3, mode, sw_batch_size=batch)
    volumes = volumes_of(*shapes)
    scans = scans_of(volumes, rules)
    run_windows(scans, PassContext(network, CPU, PassSizes()))
    for volume, scan in zip(volumes, scans, strict=True):
        alone = monai.inferers.sliding_window_inference(
            volume[None], roi, 1, network, overlap=overlap, mode=mode
        )
        assert isinstance(alone, Tensor)
        torch.testing.assert_close(output_of(scan), alone[0], atol=1e-5, rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(shapes=shapes, batch=st.integers(1, 6))
def test_passes_are_full_and_go_in_the_order_of_the_scans(
    shapes: list[tuple[int, int, int]], batch: int
) -> None:
    """Only the last pass has room left, and no window goes before one of an earlier scan."""
    rules = WindowRules((4, 4, 4), sw_batch_size=batch)
    volumes = [torch.full((1, *shape), float(number)) for number, shape in enumerate(shapes, 1)]
    passes: list[list[float]] = []

    def seeing(images: Tensor) -> Tensor:
        passes.append([float(image.max()) for image in images])
        return images

    run_windows(scans_of(volumes, rules), PassContext(seeing, CPU, PassSizes()))
    assert [len(one) for one in passes[:-1]] == [batch] * (len(passes) - 1)
    order = [number for one in passes for number in one]
    assert order == sorted(order)
    assert len(order) == sum(len(plan_windows(shape, rules).starts) for shape in shapes)


def test_windows_of_unlike_sizes_do_not_share_a_pass() -> None:
    """If a window has the scan's own length, scans of another length have their own passes."""
    rules = WindowRules((4, 4, -1), sw_batch_size=8)
    sizes: list[tuple[int, ...]] = []

    def seeing(images: Tensor) -> Tensor:
        sizes.append(tuple(images.shape))
        return images

    volumes = volumes_of((4, 4, 5), (4, 7, 5), (4, 4, 6))
    run_windows(scans_of(volumes, rules), PassContext(seeing, CPU, PassSizes()))
    assert sizes == [(3, 1, 4, 4, 5), (1, 1, 4, 4, 6)]


def live_sums(shape: tuple[int, ...]) -> int:
    """Count the tensors of ``shape`` that still exist."""
    return sum(type(one) is Tensor and one.shape == shape for one in gc.get_objects())


def test_a_scan_is_complete_and_its_sums_freed_with_its_last_window() -> None:
    """For any number of scans, the sums of at most two are held at once."""
    rules = WindowRules((6, 6, 6), sw_batch_size=4)
    scans = scans_of(volumes_of(*[(13, 11, 9)] * 6), rules)
    windows_each = len(plan_windows((13, 11, 9), rules).starts)
    assert windows_each % 4 != 0  # else no pass would be shared
    seen, held = 0, []

    def seeing(images: Tensor) -> Tensor:
        nonlocal seen
        for scan in scans[: seen // windows_each]:
            output_of(scan)  # raises unless complete
        seen += len(images)
        held.append(live_sums((2, 6, 11, 9)))
        return network(images)

    run_windows(scans, PassContext(seeing, CPU, PassSizes()))
    assert seen == 6 * windows_each
    assert max(held) <= 2
    assert live_sums((2, 6, 11, 9)) == 0


def test_a_pass_that_runs_out_of_memory_is_halved_and_the_size_remembered() -> None:
    """Outputs stay the same; a size that did not fit is not tried with the next scans."""
    rules = WindowRules((4, 4, 4), sw_batch_size=8)
    volumes, sizes, tried = volumes_of((9, 9, 9), (8, 9, 4)), PassSizes(), []

    def narrow(images: Tensor) -> Tensor:
        tried.append(len(images))
        if len(images) > 3:
            torch.empty(1 << 60)  # the allocator's own refusal
        return network(images)

    scans = scans_of(volumes, rules)
    run_windows(scans, PassContext(narrow, CPU, sizes))
    for volume, scan in zip(volumes, scans, strict=True):
        torch.testing.assert_close(output_of(scan), sliding_window(volume, network, rules))
    assert tried[:4] == [8, 4, 2, 2]
    assert max(tried[4:]) == 4  # the other half of the windows that were gathered
    assert sizes.take_splits() == 3
    tried.clear()
    run_windows(scans_of(volumes, rules), PassContext(narrow, CPU, sizes))
    assert max(tried) == 2
    assert sizes.take_splits() == 0


def test_a_single_window_that_runs_out_of_memory_is_a_fault() -> None:
    """If one window alone does not fit, the error is raised, and it is not tried again."""

    def hungry(images: Tensor) -> Tensor:
        return torch.empty(1 << 60)

    scans = scans_of(volumes_of((9, 4, 4)), WindowRules((4, 4, 4), sw_batch_size=4))
    with pytest.raises(RuntimeError, match="memory"):
        run_windows(scans, PassContext(hungry, CPU, PassSizes()))


def test_a_network_with_too_few_outputs_is_refused() -> None:
    """Fewer outputs than windows are refused, because no scan may get another scan's output."""
    with pytest.raises(ModelError, match="1 outputs for 2 images"):
        sliding_window(
            torch.zeros(1, 8, 4, 4),
            lambda images: images[:1],
            WindowRules((4, 4, 4), (0, 0, 0), sw_batch_size=2),
        )


@settings(max_examples=40, deadline=None)
@given(shapes=shapes, roi=windows, batch=st.integers(1, 6))
def test_shares_of_windows_rise_to_one(
    shapes: list[tuple[int, int, int]], roi: tuple[int, int, int], batch: int
) -> None:
    """Each scan's callback gets the share of its own windows, after each of them, in order."""
    rules = WindowRules(roi, sw_batch_size=batch)
    seen: list[list[float]] = [[] for _ in shapes]
    scans = [
        WindowedScan(ScanInput(volume, WholeOutput(), shares.append), rules)
        for volume, shares in zip(volumes_of(*shapes), seen, strict=True)
    ]
    run_windows(scans, PassContext(network, CPU, PassSizes()))
    for shape, shares in zip(shapes, seen, strict=True):
        count = len(plan_windows(shape, rules).starts)
        assert shares == [(index + 1) / count for index in range(count)]
