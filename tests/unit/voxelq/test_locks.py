"""What a local stack finds out before it starts, for it would never come right by itself."""

import os
from pathlib import Path

import pytest

from voxelq.local import locks


def test_a_setting_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that no part would start with is said with its name."""
    monkeypatch.setenv("VOXELQ_MAX_QUEUED", "none")
    with pytest.raises(locks.Taken, match="MAX_QUEUED"):
        locks.settings()


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack without torch is told what to install, and one with all of it starts."""
    locks.packages()
    monkeypatch.setattr(locks, "find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(locks.Taken, match=r"torch is not installed.*voxelq\[worker\]"):
        locks.packages()


def test_a_folder_of_another_user_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of the data folder that this user cannot write is said, rather than tried for ever."""
    (tmp_path / "redis").mkdir()
    with locks.data_folder(tmp_path):
        pass
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(locks.Taken, match="redis cannot be written"), locks.data_folder(tmp_path):
        pass
