"""What a person who waits at a terminal sees of a scan, and waits side by side."""

import io
import threading

import pytest
from rich.console import Console

from tests.support.tiny_service import job
from voxelq.cli.answers import JobAnswer
from voxelq.cli.parallel import AT_ONCE, all_of
from voxelq.cli.progress import LiveLine, live_lines, standing


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
def test_a_job_s_standing_in_words(members: dict[str, object], words: str) -> None:
    """A line says how many are ahead, then the stage, then how it ended."""
    assert standing(JobAnswer.model_validate({**job(), **members})) == words


def test_a_line_tells_a_scan_s_way() -> None:
    """A line shows bytes while they are sent, then the job's place, its stage and its share."""
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=120, color_system=None)

    def shown() -> str:
        progress.refresh()
        return terminal.getvalue().rpartition("scan-1")[2]

    with live_lines(console) as progress:
        line = LiveLine(progress, "scan-1", 2_000_000)
        line.sent(500_000)
        assert "500.0 kB of 2.0 MB" in shown()
        line.submitted(JobAnswer.model_validate(job(position=2)))
        assert "queued, 2 ahead" in shown()
        half = job(status="started", stage="inference", progress=0.425)
        line.show(JobAnswer.model_validate(half))
        assert "42%" in shown()
        assert "inference" in shown()
        line.show(JobAnswer.model_validate(job(status="finished", progress=1.0)))
        assert "100%" in shown()
        assert "finished" in shown()


def test_waits_go_side_by_side_and_answer_in_order() -> None:
    """As many waits as may are under way at once, and their answers come as they were asked."""
    together = threading.Barrier(AT_ONCE)

    def wait(number: int) -> int:
        if number < AT_ONCE:
            together.wait(60)
        return number

    waits = [lambda number=number: wait(number) for number in range(3 * AT_ONCE)]
    assert list(all_of(waits)) == list(range(3 * AT_ONCE))


def test_what_a_wait_raises_is_raised_in_its_place() -> None:
    """Answers before a wait that failed are had, and its error comes where its answer would."""

    def fail() -> int:
        raise ValueError("as told")

    answers = all_of([lambda: 1, fail])
    assert next(answers) == 1
    with pytest.raises(ValueError, match="as told"):
        next(answers)
