"""The lines that a user sees on a terminal, and blocking calls that run concurrently."""

import io
import threading
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.support.tiny_service import job
from voxelq.cli.parallel import CONCURRENT_CALLS, run_all
from voxelq.cli.progress import LiveLine, describe_state, live_lines
from voxelq.cli.scan_files import ScanFiles
from voxelq.protocol.decoding import decode
from voxelq.protocol.upload_body import UploadBody
from voxelq.records import JobState


def state(**members: Any) -> JobState:
    """Return a job as the client reads it."""
    return decode(JobState, job(**members))


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"position": 0}, "queued, next"),
        ({"position": 3, "eta_s": 12.4}, "queued, 3 ahead, done in about 12 s"),
        ({"status": "started", "attempts": 1, "stage": "inference"}, "inference"),
        ({"status": "started", "attempts": 2, "stage": "load"}, "load, attempt 2"),
        ({"status": "started", "attempts": 1}, "started"),
        ({"status": "finished"}, "finished"),
    ],
)
def test_a_job_is_described_in_one_line(members: dict[str, Any], words: str) -> None:
    """A line says how many jobs are ahead, then the stage, then the final state."""
    assert describe_state(state(**members)) == words


def test_a_line_shows_a_scan_from_upload_to_end() -> None:
    """A line shows the bytes sent, then the job's position, its stage and its progress."""
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=120, color_system=None)

    def shown() -> str:
        progress.refresh()
        return terminal.getvalue().rpartition("scan-1")[2]

    with live_lines(console) as progress:
        line = LiveLine(progress, "scan-1", 2_000_000)
        line.sent(500_000)
        assert "500.0 kB of 2.0 MB" in shown()
        line.submitted(state(position=2))
        assert "queued, 2 ahead" in shown()
        line.show(state(status="started", stage="inference", progress=0.425))
        assert "42%" in shown()
        assert "inference" in shown()
        line.show(state(status="finished", progress=1.0))
        assert "100%" in shown()
        assert "finished" in shown()


@pytest.mark.parametrize("names", [["scan"], ["t1", "flair"]])
def test_the_bytes_of_all_files_are_counted(tmp_path: Path, names: list[str]) -> None:
    """The count rises to the size of all files, and starts again when the scan is sent again."""
    files = {name: tmp_path / name for name in names}
    for path in files.values():
        path.write_bytes(bytes(3_000_000))
    scan = ScanFiles(files[names[0]], files if len(files) > 1 else None)
    counts: list[int] = []
    with scan.opened(counts.append) as opened:
        body = UploadBody(opened)
        assert int(body.headers()["Content-Length"]) >= scan.size_bytes == 3_000_000 * len(files)
        for _ in range(2):
            counts.clear()
            assert sum(map(len, body)) == int(body.headers()["Content-Length"])
            assert counts[-1] == scan.size_bytes
            assert len(counts) > len(files)


def test_calls_run_at_once_and_their_results_come_in_order() -> None:
    """As many calls as allowed run concurrently, and results are in the order of the calls."""
    together = threading.Barrier(CONCURRENT_CALLS)

    def call(number: int) -> int:
        if number < CONCURRENT_CALLS:
            together.wait(60)
        return number

    calls = [lambda number=number: call(number) for number in range(3 * CONCURRENT_CALLS)]
    assert list(run_all(calls)) == list(range(3 * CONCURRENT_CALLS))


def test_the_error_of_a_call_is_raised_in_its_place() -> None:
    """Results before a failed call are returned, and its error is raised in its turn."""

    def fail() -> int:
        raise ValueError("as scripted")

    results = run_all([lambda: 1, fail])
    assert next(results) == 1
    with pytest.raises(ValueError, match="as scripted"):
        next(results)
