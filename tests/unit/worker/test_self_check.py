"""What a worker asks itself when it may be at fault."""

import threading
from collections.abc import Iterator

import pytest

from shared.errors import StoreUnavailable, WrongStore
from worker.pipeline import self_check
from worker.pipeline.self_check import StoreCheck, check_device


def well() -> None:
    """Find nothing wrong."""


@pytest.fixture
def hung() -> Iterator[threading.Event]:
    """A mount that hangs until the event is set."""
    event = threading.Event()
    yield event
    event.set()


def test_a_healthy_store_is_no_trouble() -> None:
    """Both looks return nothing where nothing is wrong."""
    check = StoreCheck(well, well)
    assert check(thorough=False) is None
    assert check(thorough=True) is None
    check.close()


def test_only_a_thorough_look_writes() -> None:
    """A store that can be read and not written is found out by the thorough look alone."""

    def read_only() -> None:
        raise StoreUnavailable("The store cannot be written.")

    check = StoreCheck(well, read_only)
    assert check(thorough=False) is None
    found = check(thorough=True)
    assert found is not None
    assert found.reason == "The store cannot be written."
    check.close()


def test_a_store_that_hangs_is_said_to_and_waited_for_once(
    hung: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is asked, one look hangs; once the mount is back, all is well."""
    monkeypatch.setattr(self_check, "STORE_ANSWERS_WITHIN_S", 0.05)
    begun = []

    def look() -> None:
        begun.append(1)
        hung.wait()

    check = StoreCheck(look, look)
    for _ in range(3):
        found = check(thorough=False)
        assert found is not None
        assert "did not answer" in found.reason
    assert len(begun) == 1
    hung.set()
    monkeypatch.setattr(self_check, "STORE_ANSWERS_WITHIN_S", 10)
    assert check(thorough=False) is None
    check.close()


def test_trouble_that_passes_leaves_no_trace() -> None:
    """Whatever a look raised, the next one counts."""
    errors: list[Exception] = [WrongStore("another one"), OSError("of a name"), ValueError("odd")]

    def look() -> None:
        if errors:
            raise errors.pop(0)

    check = StoreCheck(look, look)
    found = [check(thorough=False) for _ in range(4)]
    assert [one.reason if one else None for one in found] == [
        "another one",
        "The store cannot be checked: OSError.",
        "The store cannot be checked: ValueError.",
        None,
    ]
    check.close()


def test_a_device_that_fails_without_a_scan_wants_a_fresh_process() -> None:
    """An error of the bare network names its kind; a lack of memory may pass by itself."""

    def sick() -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    def short() -> None:
        raise MemoryError

    assert check_device(well) is None
    found = check_device(sick)
    assert found is not None
    assert found.restart
    assert "device-side" not in found.reason
    found = check_device(short)
    assert found is not None
    assert not found.restart
