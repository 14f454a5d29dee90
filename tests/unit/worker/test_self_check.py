"""The worker's checks of itself."""

import threading
from collections.abc import Iterator

import pytest

from shared.errors import StoreUnavailable, WrongStore
from worker.pipeline import self_check
from worker.pipeline.self_check import StoreCheck, check_device


def succeed() -> None:
    """Return without an error."""


@pytest.fixture
def hung() -> Iterator[threading.Event]:
    """A mount that hangs until the event is set."""
    event = threading.Event()
    yield event
    event.set()


def test_a_healthy_store_is_no_trouble() -> None:
    """Both checks of a healthy store return None."""
    check = StoreCheck(succeed, succeed)
    assert check(thorough=False) is None
    assert check(thorough=True) is None
    check.close()


def test_only_a_thorough_check_writes() -> None:
    """Only the thorough check finds that a store cannot be written."""

    def read_only() -> None:
        raise StoreUnavailable("The store cannot be written.")

    check = StoreCheck(succeed, read_only)
    assert check(thorough=False) is None
    trouble = check(thorough=True)
    assert trouble is not None
    assert trouble.reason == "The store cannot be written."
    check.close()


def test_a_store_that_hangs_is_reported_and_awaited_once(
    hung: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only one check hangs for any number of calls; once the mount is back there is no trouble."""
    monkeypatch.setattr(self_check, "STORE_ANSWERS_WITHIN_S", 0.05)
    begun = []

    def check_store() -> None:
        begun.append(1)
        hung.wait()

    check = StoreCheck(check_store, check_store)
    for _ in range(3):
        trouble = check(thorough=False)
        assert trouble is not None
        assert "did not answer" in trouble.reason
    assert len(begun) == 1
    hung.set()
    monkeypatch.setattr(self_check, "STORE_ANSWERS_WITHIN_S", 10)
    assert check(thorough=False) is None
    check.close()


def test_trouble_that_passes_leaves_no_trace() -> None:
    """After any error of a check, the next check counts."""
    errors: list[Exception] = [WrongStore("another one"), OSError("of a name"), ValueError("odd")]

    def check_store() -> None:
        if errors:
            raise errors.pop(0)

    check = StoreCheck(check_store, check_store)
    troubles = [check(thorough=False) for _ in range(4)]
    assert [found.reason if found else None for found in troubles] == [
        "another one",
        "The store cannot be checked: OSError.",
        "The store cannot be checked: ValueError.",
        None,
    ]
    check.close()


def test_a_device_that_fails_without_a_scan_wants_a_fresh_process() -> None:
    """An error without a scan is trouble that names its class; a lack of memory may pass."""

    def broken() -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    def short() -> None:
        raise MemoryError

    assert check_device(succeed) is None
    trouble = check_device(broken)
    assert trouble is not None
    assert trouble.restart
    assert "device-side" not in trouble.reason
    trouble = check_device(short)
    assert trouble is not None
    assert not trouble.restart
