"""Bundles in the format of MONAI's model zoo, run as their configurations say."""

import json
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import monai.bundle
import monai.inferers
import nibabel
import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from shared.errors import BadScan, ModelError
from tests.support.bundles import write_tiny_bundle
from tests.support.loading import load_bundle
from tests.support.monai_bundles import (
    FOUR_CHANNELS,
    ONE_CHANNEL,
    component,
    four_channels,
    metadata,
    one_channel,
    save_torchscript,
    write_bundle,
)
from worker.inference.forward_pass import Network, PassContext, ScanInput
from worker.inference.inferers import from_monai
from worker.inference.oom import PassSizes
from worker.inference.outputs import WholeOutput
from worker.inference.streaming_argmax import LikeliestLabels
from worker.models.monai.predictor import MonaiPredictor, PreparedScan
from worker.pipeline.batch_predict import predict_each
from worker.volume.align_channels import Channel

SHAPE = (36, 30, 20)
#: A scan whose first axis runs backwards and whose voxels are not cubes.
AFFINE = np.array([[-1.2, 0, 0.1, 30], [0, 1.5, 0, -20], [0.1, 0, 3, 5], [0, 0, 0, 1.0]])


def scan(channels: int) -> list[Channel]:
    """A noisy block on a zero background for each channel."""
    rng = np.random.default_rng(channels)
    volumes = np.zeros((channels, *SHAPE), np.float32)
    volumes[:, 6:30, 5:25, 3:17] = rng.normal(100, 20, (channels, 24, 20, 14))
    return [(volume, AFFINE) for volume in volumes]


def load(root: Path, described: dict[str, Any], configuration: dict[str, Any]) -> MonaiPredictor:
    """Write a bundle and load it as a worker does."""
    folder = write_bundle(root, "bundle", described, configuration)
    predictor = load_bundle(folder, device="cpu", threads=1)
    assert isinstance(predictor, MonaiPredictor)
    return predictor


@pytest.fixture(scope="module")
def brats(tmp_path_factory: pytest.TempPathFactory) -> MonaiPredictor:
    """The four-channel bundle with labels 1, 2 and 4."""
    return load(tmp_path_factory.mktemp("four"), FOUR_CHANNELS, four_channels())


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> MonaiPredictor:
    """The bundle of one channel, which reorients and resamples."""
    return load(tmp_path_factory.mktemp("one"), ONE_CHANNEL, one_channel())


def answered(predictor: MonaiPredictor, prepared: PreparedScan, answer: Tensor) -> np.ndarray:
    """Return the bundle's mask for a network's output."""
    return predictor.postprocess(prepared, answer).mask


def test_four_channels_give_brats_own_labels(brats: MonaiPredictor) -> None:
    """Regions over the threshold are drawn as the bundle's expression says: 4 over 1 over 2."""
    prepared = brats.preprocess(scan(4))
    logits = torch.full((3, *SHAPE), -5.0)
    logits[1, 5:30], logits[0, 10:20], logits[2, 12:15] = 5.0, 5.0, 5.0
    mask = answered(brats, prepared, logits)
    assert mask.shape == SHAPE
    assert [mask[i, 0, 0] for i in (0, 6, 11, 13, 25)] == [0, 2, 1, 4, 2]


def test_each_channel_is_normalised_over_its_voxels_that_are_not_zero(
    brats: MonaiPredictor,
) -> None:
    """The bundle's own normalisation runs, in the order of the card's inputs."""
    channels = scan(4)
    image = brats.preprocess(channels).image
    for (data, _), normalised in zip(channels, image, strict=True):
        inside = np.asarray(data) != 0
        expected = (np.asarray(data)[inside] - data[inside].mean()) / data[inside].std()
        np.testing.assert_allclose(normalised.numpy()[inside], expected, atol=1e-3)
        assert not normalised.numpy()[~inside].any()


def test_overlapping_regions_become_a_label_map(tmp_path: Path) -> None:
    """If a bundle ends with binary channels, the larger region is drawn first."""
    predictor = load(tmp_path, FOUR_CHANNELS, four_channels(label_map=False))
    prepared = predictor.preprocess(scan(4))
    logits = torch.full((3, *SHAPE), -5.0)
    logits[1, 5:30], logits[0, 10:20], logits[2, 12:15] = 5.0, 5.0, 5.0
    mask = answered(predictor, prepared, logits)
    assert [mask[i, 0, 0] for i in (0, 6, 11, 13)] == [0, 2, 1, 3]


def test_the_network_s_output_is_monai_s(brats: MonaiPredictor) -> None:
    """The network's output equals that of MONAI's own inferer to 1e-4."""
    prepared = brats.preprocess(scan(4))
    network = brats._network
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=False):
        expected = monai.inferers.SlidingWindowInferer((32, 32, 24), 1, 0.5)(
            torch.as_tensor(prepared.image)[None], network
        )
        brats._precision = torch.float32
        (found,) = brats.predict([prepared])
    torch.testing.assert_close(found, expected[0], atol=1e-4, rtol=0)


def test_a_resampling_bundle_gives_a_mask_in_the_scan_s_grid(one: MonaiPredictor) -> None:
    """A finding at a place of the head is marked at that place in the scan."""
    data = np.zeros(SHAPE, np.float32)
    data[8:16, 10:20, 4:10] = 100
    prepared = one.preprocess([(data, AFFINE)])
    spacing = np.linalg.norm(np.asarray(prepared.image.affine)[:3, :3], axis=0)  # type: ignore[attr-defined]
    np.testing.assert_allclose(spacing, 2.0, atol=1e-4)
    bright = prepared.image[0] > 0.5
    logits = torch.stack([torch.where(bright, -8.0, 8.0), torch.where(bright, 8.0, -8.0)])
    mask = answered(one, prepared, torch.as_tensor(logits).as_subclass(Tensor))
    assert mask.shape == SHAPE
    truth = data > 0
    dice = 2 * (mask.astype(bool) & truth).sum() / (mask.astype(bool).sum() + truth.sum())
    assert dice > 0.85


def test_a_spacing_that_would_fill_the_memory_is_refused(one: MonaiPredictor) -> None:
    """A scan of coarse voxels is refused before the bundle's fine grid is allocated."""
    small = np.zeros((64, 64, 64), np.float32)
    small[8:-8, 8:-8, 8:-8] = 1
    with pytest.raises(BadScan, match="At the model's spacing"):
        one.preprocess([(small, np.diag([80.0, 80.0, 80.0, 1.0]))])


def test_a_whole_scan_goes_through(one: MonaiPredictor, brats: MonaiPredictor) -> None:
    """After warm-up a bundle gives a mask in the scan's grid that agrees with the finding."""
    for predictor, channels in ((one, 1), (brats, 4)):
        predictor.warm_up()
        prepared = [predictor.preprocess(scan(channels)) for _ in range(2)]
        first, second = predictor.predict(prepared)
        assert isinstance(first, Tensor)
        assert isinstance(second, Tensor)
        assert torch.equal(first, second)
        found = predictor.postprocess(prepared[0], first)
        assert found.mask.shape == SHAPE
        assert found.present == bool(found.mask.any()) == (found.probability >= 0.5)


def test_concurrent_scans_do_not_affect_each_other(one: MonaiPredictor) -> None:
    """Transforms keep state, so each scan has its own: in threads each scan's result is its own."""
    shapes = [(20, 24, 12), (30, 18, 14), (16, 16, 16), (25, 20, 10)] * 3
    masks: dict[int, tuple[int, ...]] = {}

    def serve(index: int, shape: tuple[int, ...]) -> None:
        data = np.random.default_rng(index).normal(size=shape).astype(np.float32)
        prepared = one.preprocess([(data, AFFINE)])
        answer = torch.zeros(2, *prepared.image.shape[1:])
        answer[1] = 9.0
        found = one.postprocess(prepared, answer)
        assert found.mask.all()
        masks[index] = found.mask.shape

    threads = [threading.Thread(target=serve, args=pair) for pair in enumerate(shapes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [masks[index] for index in range(len(shapes))] == shapes


def argmax_first() -> dict[str, Any]:
    """The bundle of one channel with many labels, whose argmax is taken before the inverse."""
    configuration = one_channel()
    configuration["network_def"]["out_channels"] = 12
    transforms = configuration["postprocessing"]["transforms"]
    transforms[1]["nearest_interp"] = True
    transforms[1], transforms[2] = transforms[2], transforms[1]
    return configuration


@pytest.mark.parametrize(
    ("configuration", "described", "early"),
    [
        (one_channel(), ONE_CHANNEL, False),
        (argmax_first(), metadata(["image"], ["background", *"abcdefghijk"]), True),
    ],
)
def test_the_mask_equals_monais_own(
    tmp_path: Path, configuration: dict[str, Any], described: dict[str, Any], early: bool
) -> None:
    """MONAI's own parser and loader give the same mask, with the argmax early or late."""
    predictor = load(tmp_path, described, configuration)
    data = np.random.default_rng(3).normal(size=SHAPE).astype(np.float32)
    data = np.asarray(ndimage.gaussian_filter(data, 2), dtype=np.float32)
    nibabel.save(nibabel.Nifti1Image(data, AFFINE), tmp_path / "scan.nii.gz")
    del configuration["postprocessing"]["transforms"][-1]  # which would write a file
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # about MONAI's own future changes
        parser = monai.bundle.ConfigParser({**configuration, "device": "cpu"})
        before, inferer, after = (
            parser.get_parsed_content(name)
            for name in ("preprocessing", "inferer", "postprocessing")
        )
    loaded = before({"image": tmp_path / "scan.nii.gz"})
    with torch.inference_mode():
        loaded["pred"] = inferer(loaded["image"][None], predictor._network)[0]
    expected = np.asarray(after(loaded)["pred"])[0]
    prepared = predictor.preprocess([(data, AFFINE)])
    (answer,) = predictor.predict([prepared])
    assert isinstance(answer, LikeliestLabels) is early
    found = predictor.postprocess(prepared, answer)
    np.testing.assert_array_equal(found.mask, expected)
    assert len(np.unique(found.mask)) > (2 if early else 1)


def test_scans_of_unlike_shapes_share_a_batch(tmp_path: Path) -> None:
    """In windows or whole, a scan of a batch gets the same output as alone."""
    whole = argmax_first()
    whole["inferer"] = component("SimpleInferer")
    whole["preprocessing"]["transforms"][3] = component(
        "SpatialPadd", keys="image", spatial_size=[32, 32, 32]
    )
    described = metadata(["image"], ["background", *"abcdefghijk"])
    shapes = [(20, 24, 12), (30, 18, 34), (20, 24, 12), (34, 33, 10)]
    for name, configuration, kinds in (("whole", whole, 3), ("windows", argmax_first(), 1)):
        predictor = load(tmp_path / name, described, configuration)
        rng = np.random.default_rng(5)
        prepared = [
            predictor.preprocess([(rng.normal(size=shape).astype(np.float32), np.eye(4))])
            for shape in shapes
        ]
        assert len({predictor.pass_kind(one) for one in prepared}) == kinds
        together = predict_each(predictor, prepared)
        for one, answer in zip(prepared, together, strict=True):
            (alone,) = predictor.predict([one])
            assert isinstance(alone, LikeliestLabels)
            # a pass of another size may round differently where two labels are equally probable
            assert float((answer.labels != alone.labels).float().mean()) < 1e-3
            assert answer.presence.probability() == pytest.approx(alone.presence.probability())


def test_only_the_largest_piece_is_kept(tmp_path: Path) -> None:
    """A transform that needs a package besides MONAI runs with the extra's packages."""
    configuration = one_channel()
    largest = component("KeepLargestConnectedComponentd", keys="pred", applied_labels=[1])
    configuration["preprocessing"]["transforms"] = [component("LoadImaged", keys="image")]
    configuration["postprocessing"]["transforms"] = [
        component("AsDiscreted", keys="pred", argmax=True),
        largest,
    ]
    predictor = load(tmp_path, ONE_CHANNEL, configuration)
    prepared = predictor.preprocess(scan(1))
    logits = torch.zeros(2, *SHAPE)
    logits[1, 2:4], logits[1, 10:20] = 5.0, 5.0
    mask = answered(predictor, prepared, logits)
    assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == list(range(10, 20))


def test_weights_under_model_are_found(tmp_path: Path) -> None:
    """A checkpoint of MONAI's trainers is loaded as well as a plain state dict."""
    folder = write_bundle(tmp_path, "wrapped", ONE_CHANNEL, one_channel(), wrapped=True)
    load_bundle(folder, device="cpu", threads=1).warm_up()


def test_torchscript_replaces_weights(tmp_path: Path) -> None:
    """A bundle with a configuration and a TorchScript file needs no state dict."""
    folder = write_bundle(tmp_path, "scripted", ONE_CHANNEL, one_channel())
    (folder / "models" / "model.pt").unlink()
    save_torchscript(torch.nn.Conv3d(1, 2, 3, padding=1), folder / "models" / "model.ts")
    load_bundle(folder, device="cpu", threads=1).warm_up()


def test_channels_may_be_loaded_one_by_one(tmp_path: Path) -> None:
    """A bundle that loads each channel under its own key gets them in the card's order."""
    configuration = one_channel()
    configuration["network_def"]["in_channels"] = 2
    names = ["t1", "flair"]
    configuration["preprocessing"]["transforms"] = [
        component("LoadImaged", keys=names),
        component("EnsureChannelFirstd", keys=names),
        component("ConcatItemsd", keys=names, name="image"),
    ]
    described = metadata(["T1", "FLAIR"], ["background", "lesion"])
    predictor = load(tmp_path, described, configuration)
    channels = scan(2)
    image = predictor.preprocess(channels).image
    for (data, _), seen in zip(channels, image, strict=True):
        np.testing.assert_array_equal(seen.numpy(), data)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network_def": component("SegResNet", in_chanels=4)}, "network_def: SegResNet cannot be"),
        ({"network_def": component("UNet", spatial_dims=3, in_channels=1, out_channels=2,
                                   channels=[4, 8, 16], strides=[2, 2])}, "does not fit"),
        ({"network_def": component("ScaleIntensity")}, "not a network"),
        ({"postprocessing": component("Activationsd", keys="pred", sigmoid=True)}, "Compose"),
        ({"inferer": component("SlidingWindowInferer", roi_size=[8, 8])}, "three axes"),
        ({"inferer": component("SlidingWindowInferer", roi_size=[8, 8, 8], with_coord=True)},
         "with_coord"),
        ({"inferer": component("NoSuchInferer")}, "NoSuchInferer"),
    ],
)  # fmt: skip
def test_a_bundle_that_cannot_be_run_is_refused(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    """A wrong configuration is refused at load, with a reason that names the place."""
    folder = write_bundle(tmp_path, "broken", ONE_CHANNEL, one_channel())
    (folder / "configs" / "inference.json").write_text(json.dumps({**one_channel(), **change}))
    with pytest.raises(ModelError) as refusal:
        load_bundle(folder, device="cpu")
    assert words in refusal.value.detail


def test_weights_that_are_more_than_weights_are_refused(tmp_path: Path) -> None:
    """A pickle that would run code is refused."""
    folder = write_bundle(tmp_path, "evil", ONE_CHANNEL, one_channel())
    torch.save({"model": Path("x")}, folder / "models" / "model.pt")
    with pytest.raises(ModelError, match="as weights alone"):
        load_bundle(folder, device="cpu")


def test_different_grids_are_refused_unless_the_bundle_resamples(
    tmp_path: Path, brats: MonaiPredictor
) -> None:
    """Different grids are the scan's fault, or are resampled if the card says so."""
    channels = scan(4)
    other = AFFINE.copy()
    other[:3, 3] += 1.0
    channels[2] = (channels[2][0], other)
    with pytest.raises(BadScan, match="t2"):
        brats.preprocess(channels)
    resampling = load(tmp_path, {**FOUR_CHANNELS, "resample_inputs": True}, four_channels())
    assert resampling.preprocess(channels).image.shape == (4, *SHAPE)


def inferred(inferer: Any, volume: Tensor, network: Network) -> Tensor:
    """Return the output of our replacement for one of MONAI's inferers."""
    answer = WholeOutput()
    inference = from_monai(inferer)
    context = PassContext(network, torch.device("cpu"), PassSizes())
    inference.run([ScanInput(volume, answer)], context)
    return answer.result()


def test_other_inferers_are_replaced_too() -> None:
    """A simple inferer passes whole volumes, and a slice inferer single planes."""
    volume = torch.randn(1, 6, 5, 4)
    whole = inferred(monai.inferers.SimpleInferer(), volume, lambda x: x * 2)
    torch.testing.assert_close(whole, volume * 2)
    seen = []

    def planar(x: Tensor) -> Tensor:
        seen.append(x.shape[1:])
        return x * 3

    slices = monai.inferers.SliceInferer(roi_size=(6, 5), spatial_dim=2)
    torch.testing.assert_close(inferred(slices, volume, planar), volume * 3)
    assert set(seen) == {torch.Size([1, 6, 5])}


def test_without_monai_the_refusal_names_the_extra(tmp_path: Path) -> None:
    """Without MONAI our own bundles run, and a MONAI bundle is refused with what to install."""
    folder = write_bundle(tmp_path, "bundle", ONE_CHANNEL, one_channel())
    own = write_tiny_bundle(tmp_path)
    program = (
        "import sys; sys.modules['monai'] = None\n"
        "from pathlib import Path\n"
        "from shared.errors import ModelError\n"
        "from tests.support.loading import load_bundle\n"
        "load_bundle(Path(sys.argv[2]), device='cpu').warm_up()\n"
        "try: load_bundle(Path(sys.argv[1]), device='cpu')\n"
        "except ModelError as error: print(error.detail)\n"
    )
    completed = subprocess.run(
        [sys.executable, "-c", program, str(folder), str(own)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pip install 'voxelq[monai]'" in completed.stdout
