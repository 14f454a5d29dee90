"""The service's JSON as frozen records."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from api import schemas
from shared.jobs import JobStatus, Priority
from tests.support.tiny_service import job
from voxelq import records
from voxelq.errors import JobCanceled, JobFailed, UnexpectedAnswer
from voxelq.handles import JobHandle, result_of
from voxelq.protocol.decoding import decode
from voxelq.records import JobState, Models, Queue

EXAMPLE: dict[str, Any] = schemas.JobView.model_json_schema()["examples"][0]


def test_the_services_own_example_is_read_whole() -> None:
    """Every fact of a finished job is read with its type."""
    state = decode(JobState, EXAMPLE)
    assert state.created_at == datetime(2026, 11, 21, 9, 0, 0, 123000, UTC)
    assert state.result is not None
    assert state.result.tumor == records.Tumor(True, 0.97, 83.1)
    assert state.result.labels[0].bounding_box == ((60, 80, 40), (101, 130, 77))
    assert state.result.scan == records.ScanGrid((240, 240, 155), (1.0, 1.0, 1.0), "LPS")
    assert state.batch == records.Batch("01KA8X6V7B0000000000000000", 4)
    assert state.timings_s is not None
    assert state.timings_s["inference"] == 0.21
    assert state.terminal


def test_priorities_and_states_are_those_of_the_service() -> None:
    """The client's own names for priorities and states equal the service's, in their order."""
    for ours, theirs in ((records.Priority, Priority), (records.JobStatus, JobStatus)):
        assert [str(member) for member in ours] == [str(member) for member in theirs]


def test_every_field_is_one_of_the_service() -> None:
    """Every field of a record is in the service's schemas."""
    pairs: list[tuple[type, Any]] = [
        (records.JobState, schemas.JobView),
        (records.Model, schemas.ModelView),
        (records.Models, schemas.ModelListView),
        (records.Queue, schemas.QueueView),
        (records.Worker, schemas.WorkerView),
        (records.JobPage, schemas.JobPageView),
        (records.Problem, schemas.Problem),
    ]
    for record, schema in pairs:
        names = {field.name for field in dataclasses.fields(record)}
        assert names - {"document"} <= schema.model_fields.keys(), record


def test_members_of_a_newer_service_are_only_in_the_document() -> None:
    """Unknown members, at any depth, do no harm and are kept in the document."""
    newer = {**EXAMPLE, "name": "x", "model": {"name": "m", "version": "1", "zoo": []}}
    state = decode(JobState, newer)
    assert state.model == records.ModelRef("m", "1")
    assert state.document == newer


def test_members_that_may_be_missing_have_defaults() -> None:
    """A response of an older service, with fewer members, is read."""
    state = decode(JobState, job())
    assert (state.position, state.progress, state.timings_s) == (None, 0.0, None)
    models = decode(Models, {"models": [{"name": "m", "version": "1", "default": True}]})
    assert [model.name for model in models] == ["m"]
    assert (len(models), models.default) == (1, models.models[0])
    assert decode(Queue, {"queued": 1, "started": 2, "eta_s": 3}).eta_s == 3.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": None}, "JobState.id is NoneType"),
        ({"attempts": "1"}, "JobState.attempts is str"),
        ({"progress": True}, "JobState.progress is bool"),
        ({"created_at": "yesterday"}, "isoformat"),
        ({"model": "m"}, "ModelRef is not an object"),
        ({"timings_s": {"total": None}}, "timings_s is NoneType"),
        ({"result": {"tumor": {"present": True}}}, "Tumor.probability is missing"),
        ({"result": {"tumor": EXAMPLE["result"]["tumor"], "labels": "none"}}, "labels is not a"),
        (
            {"result": {**EXAMPLE["result"], "scan": {**EXAMPLE["result"]["scan"], "shape": [1]}}},
            "shape has 1 items, not 3",
        ),
    ],
)
def test_a_member_of_the_wrong_type_is_refused(changes: dict[str, Any], words: str) -> None:
    """A member of the wrong type is named in the error."""
    with pytest.raises(ValueError, match=words):
        decode(JobState, {**EXAMPLE, **changes})


def test_a_record_cannot_be_changed() -> None:
    """A record is frozen."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        decode(JobState, job()).id = "other"  # type: ignore[misc]


def test_a_handle_shows_its_state() -> None:
    """A job's properties are those of its last fetched state, and its repr is short."""
    handle = JobHandle(decode(JobState, job(position=3, eta_s=1.5)))
    assert (handle.id, handle.status, handle.done) == ("01JOB", "queued", False)
    assert (handle.position, handle.eta_s, handle.progress) == (3, 1.5, 0.0)
    assert repr(handle) == "<JobHandle 01JOB queued>"


def test_an_end_without_a_result_is_an_error() -> None:
    """A failed, a canceled and a finished job without a result raise errors of their kinds."""
    problem = {
        "type": "urn:voxelq:problem:bad-scan",
        "title": "Bad",
        "status": 422,
        "detail": "No.",
    }
    with pytest.raises(JobFailed, match=r"Job 01JOB failed: No\.") as failure:
        result_of(decode(JobState, job(status="failed", error=problem)))
    assert failure.value.problem.type == "urn:voxelq:problem:bad-scan"
    with pytest.raises(JobCanceled, match="01JOB"):
        result_of(decode(JobState, job(status="canceled")))
    with pytest.raises(UnexpectedAnswer, match="no result"):
        result_of(decode(JobState, {**job(status="finished"), "result": None}))
