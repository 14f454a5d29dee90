"""What a local stack finds out before it starts, for it would never come right by itself."""

import os
from pathlib import Path

import pytest

from client import claims


def test_a_setting_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that no part would start with is said with its name."""
    monkeypatch.setenv("VOXELQ_MAX_QUEUED", "none")
    with pytest.raises(claims.Taken, match="MAX_QUEUED"):
        claims.settings()


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack without torch is told what to install, and one with all of it starts."""
    claims.packages()
    monkeypatch.setattr(claims, "find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(claims.Taken, match=r"torch is not installed.*voxelq\[worker\]"):
        claims.packages()


def test_a_folder_of_another_user_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of the data folder that this user cannot write is said, rather than tried for ever."""
    (tmp_path / "redis").mkdir()
    with claims.data_folder(tmp_path):
        pass
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(claims.Taken, match="redis cannot be written"), claims.data_folder(tmp_path):
        pass
