"""Checks of a local stack before it starts, for faults that do not pass by themselves."""

import os
from pathlib import Path

import pytest

from voxelq.local import locks


def test_a_setting_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting with which no part would start is named."""
    monkeypatch.setenv("VOXELQ_MAX_QUEUED", "none")
    with pytest.raises(locks.CannotStart, match="MAX_QUEUED"):
        locks.settings()


def test_a_folder_of_another_user_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of the data folder that this user cannot write is named, instead of retried."""
    (tmp_path / "redis").mkdir()
    with locks.data_folder(tmp_path):
        pass
    monkeypatch.setattr(os, "access", lambda *_: False)
    with (
        pytest.raises(locks.CannotStart, match="redis cannot be written"),
        locks.data_folder(tmp_path),
    ):
        pass
