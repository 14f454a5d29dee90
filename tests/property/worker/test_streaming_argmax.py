"""Labels computed slab by slab equal the argmax of the whole output."""

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from shared.bundles.model_card import ModelLabel
from worker.inference.batched_windows import WindowedScan, run_windows
from worker.inference.forward_pass import PassContext, ScanInput
from worker.inference.oom import PassSizes
from worker.inference.outputs import WholeOutput
from worker.inference.sliding_window import WindowRules
from worker.inference.streaming_argmax import StreamingArgmax
from worker.models.monai.argmax import as_function, split_argmax
from worker.models.monai.config_resolver import locate
from worker.volume.label_map import presence_probability

CPU = torch.device("cpu")
VOXEL_ML = 0.02


def labels_of(count: int) -> list[ModelLabel]:
    """Return this many labels, without a background."""
    return [ModelLabel(value=value, name=f"label {value}") for value in range(1, count + 1)]


def classes(count: int) -> Callable[[Tensor], Tensor]:
    """A network of ``count`` outputs."""
    torch.manual_seed(count)
    return torch.nn.Conv3d(1, count, 3, padding=1).requires_grad_(requires_grad=False)


def softmax_argmax() -> list[Any]:
    """Return the softmax and argmax of a bundle with many labels."""
    return [
        locate("Activationsd")(keys="pred", softmax=True),
        locate("AsDiscreted")(keys="pred", argmax=True),
    ]


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(3, 20)] * 3),
    roi=st.tuples(*[st.sampled_from([-1, 4, 7])] * 3),
    overlap=st.sampled_from([0.0, 0.3, 0.7]),
    count=st.integers(2, 9),
    background=st.booleans(),
)
def test_labels_and_probability_are_those_of_the_whole_output(
    shape: tuple[int, int, int],
    roi: tuple[int, int, int],
    overlap: float,
    count: int,
    background: bool,
) -> None:
    """For any volume and windows, the argmax of slabs is the slabs of the argmax."""
    volume = torch.randn((1, *shape), generator=torch.Generator().manual_seed(sum(shape)))
    rules = WindowRules(roi, (overlap,) * 3, "gaussian", sw_batch_size=3)
    labels = labels_of(count - 1 if background else count)
    whole = WholeOutput()
    online = StreamingArgmax(as_function(softmax_argmax(), "pred"), labels, VOXEL_ML)
    for sink in (whole, online):
        scan = WindowedScan(ScanInput(volume, sink), rules)
        run_windows([scan], PassContext(classes(count), CPU, PassSizes()))
    data: dict[str, Any] = {"pred": whole.result()}
    for transform in softmax_argmax():
        data = transform(data)
    kept = online.result()
    assert kept.labels.dtype == torch.uint8
    assert torch.equal(kept.labels.float(), data["pred"].as_subclass(Tensor))
    expected = presence_probability(whole.result(), labels, VOXEL_ML)
    assert kept.presence.probability() == pytest.approx(expected)


def test_more_labels_than_fit_in_a_byte_are_kept() -> None:
    """Label 299 does not become label 43."""
    online = StreamingArgmax(as_function(softmax_argmax(), "pred"), labels_of(299), VOXEL_ML)
    answer = torch.zeros(300, 2, 2, 2)
    answer[299] = 5.0
    online.take(answer, 2)
    assert set(online.result().labels.flatten().tolist()) == {299}


def test_a_hundred_volumes_are_never_held() -> None:
    """No tensor has half the size of one float for each label and voxel."""
    shape, count = (64, 10, 10), 100
    largest = []

    def network(images: Tensor) -> Tensor:
        largest.append(max(one.numel() for one in gc.get_objects() if type(one) is Tensor))
        return images.repeat(1, count, 1, 1, 1)

    rules = WindowRules((16, 10, 10))
    online = StreamingArgmax(as_function(softmax_argmax(), "pred"), labels_of(99), VOXEL_ML)
    scan = WindowedScan(ScanInput(torch.randn(1, *shape), online), rules)
    run_windows([scan], PassContext(network, CPU, PassSizes()))
    assert len(largest) > 3
    assert max(largest) == count * 16 * 10 * 10
    assert online.result().labels.shape == (1, *shape)


def named(target: str, **arguments: Any) -> Any:
    """One of MONAI's transforms."""
    return locate(target)(**arguments)


@pytest.mark.parametrize(
    ("transforms", "length"),
    [
        ([("AsDiscreted", {"keys": "pred", "argmax": True})], 1),
        ([("Activationsd", {"keys": "pred", "softmax": True}),
          ("AsDiscreted", {"keys": "pred", "argmax": True}),
          ("KeepLargestConnectedComponentd", {"keys": "pred"})], 2),
        ([("AsDiscreted", {"keys": "pred", "threshold": 0.5})], 0),
        ([("AsDiscreted", {"keys": "pred", "argmax": True, "to_onehot": 3})], 0),
        ([("AsDiscreted", {"keys": ["pred", "label"], "argmax": True})], 0),
        ([("AsDiscreted", {"keys": "pred", "argmax": True, "dim": 1})], 0),
        ([("Activationsd", {"keys": "pred", "other": torch.tanh}),
          ("AsDiscreted", {"keys": "pred", "argmax": True})], 0),
        ([("GaussianSmoothd", {"keys": "pred", "sigma": 1.0}),
          ("AsDiscreted", {"keys": "pred", "argmax": True})], 0),
        ([("Activationsd", {"keys": "pred", "softmax": True})], 0),
        ([], 0),
    ],
)  # fmt: skip
def test_only_an_argmax_of_single_voxels_is_taken_early(
    transforms: list[tuple[str, dict[str, Any]]], length: int
) -> None:
    """A transform that needs a voxel's neighbours, other keys or other axes stays in its place."""
    built = [named(target, **arguments) for target, arguments in transforms]
    head, rest = split_argmax(built, "pred")
    assert (head, rest) == (built[:length], built[length:])
