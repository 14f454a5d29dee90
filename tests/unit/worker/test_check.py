"""The check of a bundle, as a command and finding by finding."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support.bundles import write_tiny_bundle
from tests.support.local_service import environment
from tests.support.monai_bundles import ONE_CHANNEL, component, one_channel, write_bundle
from worker.models.check import check


def test_a_bundle_that_can_be_served_passes_every_step(tmp_path: Path) -> None:
    """The check prints the card, then the loading and one forward pass with their times."""
    findings = list(check(write_bundle(tmp_path, "good", ONE_CHANNEL, one_channel())))
    steps = [finding.step for finding in findings]
    assert steps == ["card", "load", "preprocess", "inference", "postprocess"]
    assert all(finding.ok for finding in findings)
    assert "good@0.4.2; inputs: image (MR); labels: 1 lesion" in findings[0].detail
    assert all(finding.seconds is not None for finding in findings[1:])


def test_every_fault_of_a_configuration_is_listed(tmp_path: Path) -> None:
    """All that is not allowed is listed together, each with its place."""
    folder = write_bundle(tmp_path, "bad", ONE_CHANNEL, one_channel())
    wrong = {
        **one_channel(),
        "inferer": component("torch.load", f="x"),
        "postprocessing": "@nowhere",
    }
    (folder / "configs" / "inference.json").write_text(json.dumps(wrong))
    details = [finding.detail for finding in check(folder) if not finding.ok]
    assert len(details) == 2
    for detail, words in zip(details, ("torch.load", "@nowhere"), strict=True):
        assert words in detail


@pytest.mark.parametrize(
    ("file", "content", "step", "words"),
    [
        ("configs/metadata.json", b"{", "files", "metadata.json"),
        ("models/model.pt", None, "files", "no weights"),
        ("models/model.pt", b"PK\x03\x04 and no more", "files", "not whole"),
    ],
)
def test_a_missing_or_broken_file_is_found(
    tmp_path: Path, file: str, content: bytes | None, step: str, words: str
) -> None:
    """A problem of the files themselves is found before anything is loaded."""
    folder = write_bundle(tmp_path, "bad", ONE_CHANNEL, one_channel())
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)
    last = list(check(folder))[-1]
    assert (last.ok, last.step) == (False, step)
    assert words in last.detail


def test_a_network_that_raises_fails_at_its_step(tmp_path: Path) -> None:
    """A configuration that can be built but not run fails at the step that raises."""
    configuration = one_channel()
    configuration["inferer"] = component("SimpleInferer")
    configuration["network_def"]["in_channels"] = 2  # the bundle has one channel
    folder = write_bundle(tmp_path, "throws", ONE_CHANNEL, configuration)
    *before, last = check(folder)
    assert all(finding.ok for finding in before)
    assert (last.ok, last.step) == (False, "inference")
    assert "RuntimeError" in last.detail


@pytest.mark.parametrize("healthy", [True, False])
def test_the_command_prints_text_or_json(tmp_path: Path, healthy: bool) -> None:
    """Exit code 0 for a bundle that can be served and 1 for others, in both forms."""
    folder = write_tiny_bundle(tmp_path)
    if not healthy:
        torch.save({"weight": torch.zeros(1)}, folder / "models" / "model.pt")
    command = [sys.executable, "-m", "worker.models.check", str(folder)]
    words, as_json = (
        subprocess.run([*command, *more], capture_output=True, text=True, env=environment())
        for more in ([], ["--json"])
    )
    assert words.returncode == as_json.returncode == (0 if healthy else 1)
    assert words.stdout.splitlines()[0].startswith("ok    card: tiny@1.0.0")
    report = json.loads(as_json.stdout)
    assert report["ok"] is healthy
    assert ("WRONG load: " in words.stdout) is not healthy
