"""Results that are stored and read again."""

import json

from shared.results import (
    ScanGeometry,
    ScanWarning,
    SegmentationResult,
    TumorFinding,
)

RESULT = SegmentationResult(
    tumor=TumorFinding(present=False, probability=0.25, volume_ml=0),
    labels=(),
    scan=ScanGeometry(shape=(2, 3, 4), voxel_mm=(1, 1, 1), orientation="RAS"),
    warnings=(ScanWarning(code="not-flair-like", detail="It has only 2 slices."),),
    sha256="0" * 64,
)


def test_warnings_are_kept() -> None:
    """A result comes back from JSON with its warnings."""
    text = RESULT.model_dump_json()
    assert json.loads(text)["warnings"] == [
        {"code": "not-flair-like", "detail": "It has only 2 slices."}
    ]
    assert SegmentationResult.model_validate_json(text) == RESULT


def test_a_result_of_an_older_version_has_no_warnings() -> None:
    """A result that was stored before there were warnings is still read."""
    older = RESULT.model_dump(mode="json")
    del older["warnings"]
    assert SegmentationResult.model_validate(older).warnings == ()
