"""Submissions that go to the queue or the worker directly, without the API."""

from datetime import UTC, datetime

from ulid import ULID

from shared.jobs import Priority, Submission


def new_submission(model_ref: str, scan_key: str) -> Submission:
    """Return a routine submission of one scan to the model ``name@version``."""
    name, version = model_ref.split("@")
    return Submission(
        id=str(ULID()),
        model=name,
        version=version,
        priority=Priority.ROUTINE,
        scans={"scan": scan_key},
        sha256="0" * 64,
        created_at=datetime.now(UTC),
    )
