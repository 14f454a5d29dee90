"""The predictor of VoxelQ's own network, with a tiny untrained bundle."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from shared.errors import ModelError
from tests.support.bundles import write_tiny_bundle
from tests.support.loading import load_tumor_predictor
from worker.device.compute_mode import PLAIN, ComputeMode
from worker.models.brain_tumor import predictor as predictor_module
from worker.models.brain_tumor.autotune import Run
from worker.models.brain_tumor.predictor import Prediction, TumorPredictor
from worker.models.brain_tumor.recipe import PresenceRecipe

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle's folder."""
    return write_tiny_bundle(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def predictor(bundle: Path) -> TumorPredictor:
    """The tiny bundle, loaded on the CPU."""
    loaded = load_tumor_predictor(bundle, device="cpu", precision="fp32", threads=1)
    loaded.warm_up()
    return loaded


def scan(seed: int) -> np.ndarray:
    """A noisy block on a zero background."""
    data = np.zeros((40, 44, 30), dtype=np.int16)
    data[8:32, 8:36, 6:24] = np.random.default_rng(seed).integers(200, 400, (24, 28, 18))
    return data


def test_results_are_in_the_order_of_the_batch(predictor: TumorPredictor) -> None:
    """Each scan of a batch gets the same result as alone."""
    batch = [predictor.preprocess([(scan(seed), AFFINE)]) for seed in range(3)]
    together = predictor.predict(batch)
    for prepared, prediction in zip(batch, together, strict=True):
        (alone,) = predictor.predict([prepared])
        assert np.allclose(alone.probability, prediction.probability, atol=1e-4)
        assert alone.presence_logit == pytest.approx(prediction.presence_logit, abs=1e-3)


@pytest.mark.parametrize("logit", [-9.0, 0.0, 9.0])
@pytest.mark.parametrize("level", [0.0, 0.4, 1.0])
def test_presence_and_mask_agree(predictor: TumorPredictor, logit: float, level: float) -> None:
    """A tumour is present exactly if the mask has one and its probability is at least a half."""
    prepared = predictor.preprocess([(scan(0), AFFINE)])
    probability = np.zeros(prepared.frame.grid.shape, dtype=np.float32)
    probability[16:32, 16:32, 16:32] = level
    answer = predictor.postprocess(prepared, Prediction(probability, logit))
    assert answer.mask.shape == (40, 44, 30)
    assert answer.mask.dtype == np.uint8
    assert answer.present == bool(answer.mask.any()) == bool(answer.labels)
    assert answer.present == (answer.probability >= 0.5)
    assert answer.present == (logit > -1 and level > 0.5)


def test_low_precision_gives_like_probabilities(bundle: Path, predictor: TumorPredictor) -> None:
    """In bf16 the probabilities are within a few hundredths of those in fp32."""
    reduced = load_tumor_predictor(bundle, device="cpu", precision="bf16")
    prepared = predictor.preprocess([(scan(1), AFFINE)])
    exact, rough = (one.predict([prepared])[0] for one in (predictor, reduced))
    assert np.abs(exact.probability - rough.probability).mean() < 0.03


def test_probability_grows_with_the_volume() -> None:
    """At the same logit a larger mask makes a tumour likelier."""
    recipe = PresenceRecipe(intercept=-2, logit_weight=0.5, volume_weight=0.6)
    small, large = recipe.probability(0.0, 1.0), recipe.probability(0.0, 100.0)
    assert 0 < small < large < 1


@pytest.mark.parametrize(
    ("section", "content"),
    [
        ("grid", {"shape": [50, 48, 48], "spacing_mm": 4.0}),
        ("mask", {"threshold": 1.5, "min_component_ml": 0}),
        ("network", {"in_channels": 1}),
    ],
)
def test_a_bundle_that_cannot_be_run_is_refused(
    tmp_path: Path, section: str, content: dict[str, object]
) -> None:
    """Metadata that does not describe a network is refused with a reason."""
    folder = write_tiny_bundle(tmp_path)
    path = folder / "configs" / "metadata.json"
    metadata = json.loads(path.read_text())
    path.write_text(json.dumps({**metadata, section: content}))
    with pytest.raises(ModelError, match="cannot be run"):
        load_tumor_predictor(folder, device="cpu")


def test_weights_are_only_weights(tmp_path: Path) -> None:
    """A weights file with anything but tensors is refused without unpickling it."""
    folder = write_tiny_bundle(tmp_path)
    torch.save({"network": Path("x")}, folder / "models" / "model.pt")
    with pytest.raises(ModelError, match=r"does not fit|as weights alone"):
        load_tumor_predictor(folder, device="cpu")


def test_missing_and_broken_weights_are_refused(tmp_path: Path) -> None:
    """Missing or unreadable weights are refused with a reason."""
    folder = write_tiny_bundle(tmp_path)
    weights = folder / "models" / "model.pt"
    weights.write_bytes(b"not a network")
    with pytest.raises(ModelError, match=r"does not fit|as weights alone"):
        load_tumor_predictor(folder, device="cpu")
    weights.unlink()
    with pytest.raises(ModelError, match="no readable weights"):
        load_tumor_predictor(folder, device="cpu")


@pytest.mark.parametrize("device", ["tpu-ish", "meta", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(bundle: Path, device: str) -> None:
    """A device that this machine lacks is refused at the start, with a reason."""
    with pytest.raises(ModelError):
        load_tumor_predictor(bundle, device=device)


def test_the_mode_chosen_at_warm_up_is_used(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later scans are computed in the mode chosen at warm-up, with the same threads as before."""
    loaded = load_tumor_predictor(bundle, device="cpu", precision="auto", threads=2)
    last = ComputeMode("fp32", "channels_last_3d")
    tried: list[ComputeMode] = []

    def choose(modes: Sequence[ComputeMode], thread_counts: Sequence[int], run: Run) -> ComputeMode:
        for mode in modes:
            assert run(mode, thread_counts[0]).shape == (48, 48, 48)
            tried.append(loaded.compute_mode)
        assert list(thread_counts) == [1, 2]
        return last

    monkeypatch.setattr(predictor_module, "measure_modes", choose)
    loaded.warm_up()
    assert tried[0] == PLAIN
    assert loaded.compute_mode == last
    assert torch.get_num_threads() == 2
    weights = next(weight for weight in loaded._network.parameters() if weight.ndim == 5)
    assert weights.is_contiguous(memory_format=torch.channels_last_3d)
    exact = load_tumor_predictor(bundle, device="cpu", precision="fp32", threads=1)
    prepared = exact.preprocess([(scan(1), AFFINE)])
    one, other = (each.predict([prepared])[0] for each in (exact, loaded))
    assert np.allclose(one.probability, other.probability, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_named_precision_is_used(bundle: Path, precision: str) -> None:
    """Only `auto` chooses a number format; a named one is used."""
    loaded = load_tumor_predictor(bundle, device="cpu", precision=precision, threads=1)
    loaded.warm_up()
    assert loaded.compute_mode.precision == precision


def test_the_answer_carries_what_the_input_s_check_says(predictor: TumorPredictor) -> None:
    """A block of noise is answered with a warning, whether or not a tumour is found in it."""
    prepared = predictor.preprocess([(scan(0), AFFINE)])
    assert [warning.code for warning in prepared.warnings] == ["not-flair-like"]
    for level in (0.0, 1.0):
        probability = np.full(prepared.frame.grid.shape, level, dtype=np.float32)
        answer = predictor.postprocess(prepared, Prediction(probability, 9.0))
        assert answer.present is bool(level)
        assert answer.warnings == prepared.warnings


def test_a_model_for_another_sequence_expects_no_flair(tmp_path: Path) -> None:
    """The input of a model that takes T1 is not checked for the looks of a FLAIR."""
    bundle = write_tiny_bundle(tmp_path, inputs=[{"name": "scan", "modality": "T1"}])
    loaded = load_tumor_predictor(bundle, device="cpu", precision="fp32", threads=1)
    assert loaded.preprocess([(scan(0), AFFINE)]).warnings == ()
