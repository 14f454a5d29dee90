"""A clinic's scans, and the checks of their results."""

import gzip
import resource
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image

from benchmarks.blocked.clients import Outcome, allow_files, block, statuses
from benchmarks.common import sample_scan
from benchmarks.common.clinic import SHAPES, clinic_scans, job_fault, mask_fault, refusal
from benchmarks.common.percentiles import percentile
from tests.support.tiny_service import TinyService, job, problem, serving


def mask(shape: tuple[int, ...]) -> bytes:
    """Return an empty mask of this shape."""
    return gzip.compress(Nifti1Image(np.zeros(shape, np.uint8), np.eye(4)).to_bytes())


def test_five_scans_of_different_shapes_are_generated_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scans have their shapes, are in the cache, and are read from it the second time."""
    made = clinic_scans("small", tmp_path)
    assert len({scan.shape for scan in made}) == len(made) == 5
    for scan in made:
        assert nibabel.Nifti1Image.from_bytes(gzip.decompress(scan.content)).shape == scan.shape
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".gz"] * 5
    monkeypatch.setattr(sample_scan, "sample_scan", lambda _: pytest.fail("made again"))
    assert clinic_scans("small", tmp_path) == made


def test_every_kind_of_clinic_has_five_shapes() -> None:
    """There are five different large scans and five different small ones."""
    assert {kind: len(set(shapes)) for kind, shapes in SHAPES.items()} == {"large": 5, "small": 5}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (job(status="finished"), None),
        (job(status="finished", result=None), "without a result"),
        (job(status="failed", error=problem(422, "")), "failed: Refused"),
        (job(status="failed", error=None), "without a reason"),
        (job(status="canceled"), "not finished but canceled"),
    ],
)
def test_only_a_finished_job_with_a_result_has_no_fault(
    answer: dict[str, object], words: str | None
) -> None:
    """Every other job has a fault with a reason."""
    fault = job_fault(answer)
    assert fault is None if words is None else words in str(fault)


def test_a_mask_must_have_the_scans_grid() -> None:
    """A mask of another shape, an empty body, a problem or half a header is a fault."""
    whole = mask((4, 5, 6))
    assert mask_fault(whole, (4, 5, 6)) is None
    assert "grid" in str(mask_fault(whole, (5, 4, 6)))
    assert "grid" in str(mask_fault(mask((4, 5, 6, 2)), (4, 5, 6)))
    for nothing in (b"", b"{}", whole[:20]):
        assert mask_fault(nothing, (4, 5, 6)) == "response without a mask"


def test_a_refusal_is_named_by_its_title() -> None:
    """A refusal is counted by its problem's title, which has nothing of a scan in it."""
    assert (
        refusal(429, b'{"title": "The queue is full", "detail": "x"}') == "429: The queue is full"
    )
    for body in (b"", b"<html>", b"[]", b'{"detail": "x"}'):
        assert refusal(502, body) == "502: a response that is not problem+json"


def finished() -> dict[str, Any]:
    """Return a finished job that ended long ago."""
    return job(status="finished", finished_at="2020-01-01T00:00:00.000Z")


async def test_a_blocked_client_gets_its_result_either_way() -> None:
    """With one call or two, the scan arrives, and the time since the job's end is measured."""
    with serving() as service:
        service.on("POST", "/predict", 200, finished())
        service.on("POST", "/jobs", 202, job("01A"))
        service.on("GET", "/jobs/01A", 200, finished())
        one = await block(service.url, "predict", b"scan", 30)
        two = await block(service.url, "wait", b"scan", 30)
        paths = [(request.path, request.body) for request in service.requests]
    assert paths == [("/predict?wait=30", b"scan"), ("/jobs", b"scan"), ("/jobs/01A?wait=30", b"")]
    for outcome in (one, two):
        assert (outcome.status, outcome.fault) == (200, None)
        assert outcome.woken_s is not None
        assert outcome.woken_s > 86_400
        assert outcome.seconds < 3600


@pytest.mark.parametrize(
    ("answer", "status", "fault"),
    [
        ((202, job(status="started")), 202, "no result within 30 s"),
        ((429, problem(429, "full")), 429, "429: Refused"),
        ((200, job(status="failed", error=problem(422, ""))), 200, "failed: Refused"),
    ],
)
async def test_a_client_without_a_result_says_why(
    answer: tuple[int, object], status: int, fault: str
) -> None:
    """A wait that is over, a refusal and a failed job are faults, each with its reason."""
    with serving() as service:
        service.on("POST", "/predict", *answer)
        outcome = await block(service.url, "predict", b"scan", 30)
    assert (outcome.status, outcome.fault, outcome.woken_s) == (status, fault, None)


async def test_a_service_that_is_away_is_a_fault() -> None:
    """A refused connection counts as a missing response."""
    with serving() as service:
        url = TinyService(service.url).url
    outcome = await block(url, "predict", b"scan", 30)
    assert (outcome.status, outcome.fault) == (0, "no response: ConnectionRefusedError")


def test_outcomes_are_counted() -> None:
    """Results are counted by their status, other outcomes by their reason."""
    outcomes = [
        Outcome(200, None, 1.0, 0.1),
        Outcome(200, None, 2.0, 0.1),
        Outcome(429, "429: Full", 0.1),
    ]
    assert statuses(outcomes) == {"200 finished": 2, "429: Full": 1}


def test_a_percentile_of_one_is_that_one() -> None:
    """A percentile is between two of the values, or is the only value."""
    assert percentile([3.0], 95) == 3.0
    assert percentile([1.0, 2.0, 3.0], 50) == 2.0


def test_more_connections_than_files_are_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that is too low is reported at once; otherwise the limit is raised as needed."""
    taken = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: taken.append(limits))
    with pytest.raises(ValueError, match="open files; 4096 are allowed"):
        allow_files(4096)
    allow_files(100)
    assert taken == []
    allow_files(2000)
    assert taken[0][0] > 2000
