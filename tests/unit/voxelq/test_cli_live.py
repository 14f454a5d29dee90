"""The output of the command line while scans are computed."""

import json
from pathlib import Path

import pytest

from tests.support.command_line import Run
from tests.support.tiny_service import TinyService, job, problem


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the output a terminal, wide enough for a whole line."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")


def test_on_a_terminal_scans_are_followed_live(
    service: TinyService,
    run: Run,
    scan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each scan has a line that ends with its final state, and the table comes after the lines."""
    on_terminal(monkeypatch)
    other = tmp_path / "other.nii.gz"
    other.write_bytes(scan.read_bytes())
    ends = {"01ABC": "finished", "01XYZ": "failed"}
    for job_id, end in ends.items():
        service.on("POST", "/jobs", 202, job(job_id, position=0))
        half = job(job_id, "started", stage="inference", progress=0.5)
        service.on("GET", f"/jobs/{job_id}", 200, half)
        service.on("GET", f"/jobs/{job_id}", 200, job(job_id, end))
    assert run("submit", scan, other, "--wait") == 1
    shown = capsys.readouterr()
    for name, end in zip(("mary-smith", "other"), ends.values(), strict=True):
        last = [line for line in shown.err.splitlines() if name in line][-1]
        assert end in last
    assert "\x1b[" in shown.err
    assert all(job_id in shown.out for job_id in ends)


def test_without_a_terminal_nothing_is_live(
    service: TinyService, run: Run, scan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a pipe, a wait is a long poll that prints only its table."""
    service.on("POST", "/jobs", 202, job("01ABC"))
    service.on("GET", "/jobs/01ABC", 200, job("01ABC", "finished"))
    assert run("submit", scan, "--wait") == 0
    assert capsys.readouterr().err == ""
    assert [request.path for request in service.requests] == ["/jobs", "/jobs/01ABC?wait=20.0"]


def test_json_is_the_same_on_a_terminal(
    service: TinyService,
    run: Run,
    scan: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The JSON output has no live lines."""
    on_terminal(monkeypatch)
    service.on("POST", "/jobs", 202, job("01ABC"))
    service.on("GET", "/jobs/01ABC", 200, job("01ABC", "finished"))
    assert run("submit", scan, "--wait", "--json") == 0
    (document,) = json.loads(capsys.readouterr().out)
    assert (document["id"], document["status"]) == ("01ABC", "finished")


@pytest.mark.parametrize("found", [True, False])
def test_view_opens_the_page_of_the_first_job(
    service: TinyService,
    run: Run,
    scan: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    found: bool,
) -> None:
    """--view opens the page of the first accepted job, or prints its address."""
    opened: list[str] = []

    def open_page(url: str) -> bool:
        opened.append(url)
        return found

    monkeypatch.setattr("webbrowser.open", open_page)
    service.on("POST", "/jobs", 422, problem(422, "The volume is not 3D."))
    for job_id in ("01ABC", "01XYZ"):
        service.on("POST", "/jobs", 202, job(job_id))
    run("submit", scan, scan, scan, "--view")
    assert opened == [f"{service.url}/?job=01ABC"]
    assert (opened[0] in capsys.readouterr().err) is not found
