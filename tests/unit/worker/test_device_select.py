"""How the device, the precision and the GPU memory are chosen."""

import os
from pathlib import Path

import pytest
import torch

from shared.errors import ModelError
from worker.device import select

GPU = torch.device("cuda", 0)


def test_auto_is_the_cpu_without_a_gpu() -> None:
    """Without a usable GPU, `auto` is the CPU."""
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert select.choose_device("auto").type == expected


def test_auto_precision_follows_the_chip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a CPU, `auto` is bf16 if the chip is known to compute it, else fp32."""
    flags = tmp_path / "cpuinfo"
    monkeypatch.setattr(select, "_CPU_FLAGS", flags)
    cpu = torch.device("cpu")
    assert select.choose_precision("auto", cpu) == torch.float32
    flags.write_text("flags : avx2 avx512f avx512_bf16\n")
    assert select.choose_precision("auto", cpu) == torch.bfloat16
    flags.write_text("flags : avx2 avx512f\n")
    assert select.choose_precision("auto", cpu) == torch.float32


def test_the_formats_of_the_chip_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The formats to try always include fp32; a GPU's half precisions depend on its generation."""
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 0)
    monkeypatch.setattr(select, "cpu_has_bf16", lambda: True)
    assert select.precisions("auto", cpu) == ["fp32", "bf16"]
    assert select.precisions("fp16", cpu) == ["fp16"]
    for major, formats in ((7, ["fp32", "fp16"]), (9, ["fp32", "bf16", "fp16"])):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, major=major: (major, 0))
        assert select.precisions("auto", gpu) == formats
    assert select.choose_precision("auto", gpu) == torch.bfloat16


def test_an_unknown_precision_is_refused() -> None:
    """A precision that torch does not have is refused with a reason."""
    with pytest.raises(ModelError, match="fp32, bf16 or fp16"):
        select.choose_precision("int4", torch.device("cpu"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "expandable_segments:True"),
        ("max_split_size_mb:128", "max_split_size_mb:128,expandable_segments:True"),
        ("expandable_segments:False", "expandable_segments:False"),
    ],
)
def test_memory_grows_unless_set_otherwise(
    monkeypatch: pytest.MonkeyPatch, before: str, after: str
) -> None:
    """Growth is added to the allocator's settings, and never overrides the operator's own."""
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", before)
    select.limit_gpu_memory(GPU, growth=True, fraction=1.0)
    assert os.environ["PYTORCH_ALLOC_CONF"] == after


def test_a_cpu_has_no_memory_to_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU nothing about GPU memory is set."""
    monkeypatch.delenv("PYTORCH_ALLOC_CONF", raising=False)
    select.limit_gpu_memory(torch.device("cpu"), growth=True, fraction=0.5)
    assert "PYTORCH_ALLOC_CONF" not in os.environ
    select.release_idle_memory()
