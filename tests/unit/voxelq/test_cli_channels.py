"""Scans of several channels on the command line."""

import io
from pathlib import Path
from typing import Any

import pytest
from python_multipart.multipart import File, parse_form

from tests.support.command_line import Run
from tests.support.tiny_service import Request, TinyService, job


def form_fields(request: Request) -> dict[str, bytes]:
    """Read a form as a server does."""
    fields: dict[str, bytes] = {}

    def keep(file: File) -> None:
        file.file_object.seek(0)
        fields[(file.field_name or b"").decode()] = file.file_object.read()

    headers: Any = {
        "Content-Type": request.headers["content-type"].encode(),
        "Content-Length": request.headers["content-length"].encode(),
    }
    parse_form(headers, io.BytesIO(request.body), None, keep)
    return fields


def test_channels_of_one_scan_go_in_one_form(
    service: TinyService, run: Run, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Several --channel options are one scan: a form with a field for each, and no file name."""
    other = tmp_path / "mary-smith-t1.nii"
    other.write_bytes(b"raw" * 1000)
    service.on("POST", "/jobs", 202, job("01ABC"))
    assert run("submit", "--channel", f"t1c={scan}", "--channel", f"t1={other}") == 0
    assert capsys.readouterr().out.count("01ABC") == 1
    (request,) = service.requests
    assert form_fields(request) == {"t1c": scan.read_bytes(), "t1": other.read_bytes()}
    assert b"mary" not in request.body


def test_a_folder_is_one_scan_of_several_channels(
    service: TinyService, run: Run, tmp_path: Path
) -> None:
    """Of a folder, the file named after each input of the model is sent, and no other."""
    folder = tmp_path / "sub-01"
    folder.mkdir()
    for name in ("sub-01_t1.nii.gz", "sub-01_t1c.nii.gz", "flair.nii", "sub-01_seg.nii.gz"):
        (folder / name).write_bytes(name.encode())
    inputs = [{"name": name} for name in ("t1c", "t1", "flair")]
    model = {"name": "glioma", "version": "1.0.0", "inputs": inputs}
    service.on("GET", "/models/glioma", 200, model)
    service.on("GET", "/models", 200, {"models": [{**model, "default": True}]})
    service.on("POST", "/jobs", 202, job("01ABC"))
    expected = {"t1c": b"sub-01_t1c.nii.gz", "t1": b"sub-01_t1.nii.gz", "flair": b"flair.nii"}
    for options in (("--model", "glioma"), ()):
        assert run("submit", folder, *options) == 0
        assert form_fields(service.requests[-1]) == expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--channel", "t1"], "NAME=FILE"),
        (["--channel", "t1=/nowhere.nii"], "no file"),
        (["--channel", "t1={scan}", "--channel", "t1={scan}"], "twice"),
        (["{scan}", "--channel", "t1={scan}"], "--channel"),
        (["{folder}", "--model", "glioma"], "no file for the channel flair"),
    ],
)
def test_wrong_channels_are_exit_code_2(
    service: TinyService,
    run: Run,
    scan: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    words: str,
) -> None:
    """Wrong or missing files for channels are refused with a reason, and nothing is submitted."""
    model = {"name": "glioma", "version": "1.0.0", "inputs": [{"name": "flair"}]}
    service.on("GET", "/models/glioma", 200, model)
    assert run("submit", *(text.format(scan=scan, folder=tmp_path) for text in options)) == 2
    assert words in capsys.readouterr().err
    assert [request.method for request in service.requests if request.method == "POST"] == []
