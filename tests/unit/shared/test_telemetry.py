"""How unexpected errors are logged."""

import json

import structlog

from shared.telemetry import log_unexpected_error

PATIENT = "Jane Doe"


def fail(depth: int) -> None:
    """Raise an error from deep inside the stack."""
    if depth == 0:
        raise ValueError(PATIENT)
    fail(depth - 1)


def test_an_unexpected_error_is_logged_without_its_message() -> None:
    """The log has an error's class and innermost frames, and not its message."""
    with structlog.testing.capture_logs() as logs:
        try:
            fail(20)
        except ValueError as error:
            log_unexpected_error("round_failed", error, thread="retention")
    (entry,) = logs
    assert (entry["event"], entry["log_level"]) == ("round_failed", "error")
    assert (entry["error"], entry["thread"]) == ("ValueError", "retention")
    assert len(entry["frames"]) == 3
    assert " in fail" in entry["frames"][-1]
    assert PATIENT not in json.dumps(entry)
