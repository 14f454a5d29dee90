"""A model's card, from our own metadata and from that of MONAI's model zoo."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from shared.bundles.contents import BundleContents
from shared.errors import ModelError
from tests.support.bundles import METADATA
from tests.support.monai_bundles import (
    BRATS_LABELS,
    FOUR_CHANNELS,
    ONE_CHANNEL,
    component,
    four_channels,
    metadata,
    one_channel,
)


def write(root: Path, described: dict[str, Any], configuration: object = None) -> Path:
    """Write a bundle without weights and return its folder."""
    folder = root / "Some_Model" / "1.2.3"
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "metadata.json").write_text(json.dumps(described))
    if configuration is not None:
        (folder / "configs" / "inference.json").write_text(json.dumps(configuration))
    return folder


def test_four_channels_become_four_inputs(tmp_path: Path) -> None:
    """The zoo's channels become form fields in lower case; its long name is not used."""
    card = BundleContents.read(write(tmp_path, FOUR_CHANNELS, four_channels())).card
    assert [channel.name for channel in card.inputs] == ["t1c", "t1", "t2", "flair"]
    assert [channel.modality for channel in card.inputs] == ["T1c", "T1", "T2", "FLAIR"]
    assert card.ref == "some_model@0.4.2"
    assert card.license == "Copyright (c) of these tests"


def test_labels_have_the_values_that_the_mask_will_show(tmp_path: Path) -> None:
    """If the configuration writes its own values, as that of BraTS does, the card has these."""
    painted = BundleContents.read(write(tmp_path / "a", FOUR_CHANNELS, four_channels())).card
    assert [(label.value, label.name) for label in painted.labels] == [
        (1, "Tumor core"),
        (2, "Whole tumor"),
        (4, "Enhancing tumor"),
    ]
    plain = four_channels(label_map=False)
    overlapping = BundleContents.read(write(tmp_path / "b", FOUR_CHANNELS, plain)).card
    assert [label.value for label in overlapping.labels] == [1, 2, 3]


@pytest.mark.parametrize("first", ["background", "Background", "everything else"])
def test_the_background_is_no_label(tmp_path: Path, first: str) -> None:
    """If the first channel is the background, values are the channels' numbers."""
    described = metadata(["image"], [first, "liver", "spleen"])
    labels = BundleContents.read(write(tmp_path, described)).card.labels
    assert [(label.value, label.name) for label in labels] == [(1, "liver"), (2, "spleen")]


def test_the_highest_channel_counts_from_zero(tmp_path: Path) -> None:
    """A configuration that takes the highest channel makes the first one the background."""
    described = metadata(["image"], ["nothing to see", "lesion"])
    labels = BundleContents.read(write(tmp_path, described, one_channel())).card.labels
    assert [(label.value, label.name) for label in labels] == [(1, "lesion")]


def test_a_step_that_is_never_run_names_no_label(tmp_path: Path) -> None:
    """Label values come only from steps of the postprocessing that are built."""
    configuration = four_channels(label_map=False)
    steps = configuration["postprocessing"]["transforms"]
    steps.append(component("Lambdad", _disabled_=True, keys="pred", func=BRATS_LABELS))
    steps.append(component("AsDiscreted", _disabled_=True, keys="pred", argmax=True))
    card = BundleContents.read(write(tmp_path, FOUR_CHANNELS, configuration)).card
    assert [label.value for label in card.labels] == [1, 2, 3]


def test_a_text_that_macros_repeat_is_not_copied(tmp_path: Path) -> None:
    """A long text repeated five thousand times costs no more memory than once."""
    configuration = one_channel()
    configuration["text"] = "x" * 500_000
    configuration["postprocessing"]["many"] = ["%text"] * 5_000
    folder = write(tmp_path, ONE_CHANNEL, configuration)
    tracemalloc.start()
    BundleContents.read(folder)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50 << 20


def test_our_own_fields_override_the_zoos(tmp_path: Path) -> None:
    """Fields of our own format override those of the zoo's format."""
    own = {
        "name": "my-model",
        "inputs": [{"name": "scan", "modality": "FLAIR"}],
        "labels": [{"value": 7, "name": "mine"}],
        "license": "MIT",
        "resample_inputs": True,
    }
    card = BundleContents.read(write(tmp_path, {**ONE_CHANNEL, **own})).card
    assert (card.name, card.license, card.resample_inputs) == ("my-model", "MIT", True)
    assert card.inputs[0].name == "scan"
    assert card.labels[0].value == 7


def test_our_own_format_needs_no_other(tmp_path: Path) -> None:
    """Metadata in our own format needs no field of the zoo's format."""
    card = BundleContents.read(write(tmp_path, METADATA)).card
    assert card.ref == "tiny@1.0.0"
    assert not card.resample_inputs


@pytest.mark.parametrize(
    ("text", "known"),
    [("Apache License\nVersion 2.0", "Apache-2.0"), ("Terms of ours", "see docs/license.txt")],
)
def test_a_licence_file_is_named(tmp_path: Path, text: str, known: str) -> None:
    """A licence recognised by its text is named; for others the card names the file."""
    folder = write(tmp_path, ONE_CHANNEL)
    (folder / "docs").mkdir()
    (folder / "docs" / "license.txt").write_text(text)
    assert BundleContents.read(folder).card.license == known


@pytest.mark.parametrize(
    "broken",
    [
        {"network_data_format": 3},
        {"network_data_format": {"inputs": {}, "outputs": {}}},
        {"network_data_format": {"inputs": {"image": {"channel_def": {"first": "T1"}}}}},
        {"version": "latest"},
    ],
)
def test_metadata_that_describes_nothing_is_refused(tmp_path: Path, broken: dict[str, Any]) -> None:
    """A description that cannot be read is refused with a reason."""
    with pytest.raises(ModelError, match=r"network_data_format|not usable"):
        BundleContents.read(write(tmp_path, {**ONE_CHANNEL, **broken}))


def test_a_forbidden_configuration_has_no_card(tmp_path: Path) -> None:
    """Reading the card of a bundle with a forbidden configuration raises the reason."""
    unsafe = {**one_channel(), "network_def": {"_target_": "os.system", "command": "x"}}
    with pytest.raises(ModelError, match=r"os\.system"):
        BundleContents.read(write(tmp_path, ONE_CHANNEL, unsafe))
