"""One live line a scan on a terminal: its bar, and where it stands."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from voxelq.cli.answers import JobAnswer


class LiveLine:
    """The line of one scan: first what of it is sent, then how far its job has come."""

    def __init__(self, progress: Progress, label: str, size_bytes: int) -> None:
        self._progress = progress
        self._size_bytes = size_bytes
        self._task: TaskID = progress.add_task(label, total=size_bytes, state="uploading", done="")

    def sent(self, sent_bytes: int) -> None:
        """Show so much of the scan as sent."""
        done = f"{decimal(sent_bytes)} of {decimal(self._size_bytes)}"
        self._progress.update(self._task, completed=sent_bytes, done=done)

    def submitted(self, job: JobAnswer) -> None:
        """Begin anew with the scan's job."""
        self._progress.reset(self._task, total=1.0)
        self.show(job)

    def show(self, job: JobAnswer) -> None:
        """Show how a job fares."""
        done = f"{job.progress:.0%}" if job.progress else ""
        self._progress.update(self._task, completed=job.progress, state=standing(job), done=done)
        if job.terminal:
            self._progress.stop_task(self._task)

    def refused(self) -> None:
        """Show that there will be no job."""
        self._progress.update(self._task, state="refused")
        self._progress.stop_task(self._task)


def standing(job: JobAnswer) -> str:
    """Say in a few words where a job stands: its place, its stage, or how it ended."""
    if job.status == "queued" and job.position is not None:
        place = f"queued, {job.position} ahead" if job.position else "queued, next"
        return f"{place}, done in about {job.eta_s:.0f} s" if job.eta_s else place
    if job.status == "started" and job.stage:
        again = f", attempt {job.attempts}" if job.attempts > 1 else ""
        return job.stage + again
    return job.status


@contextmanager
def live_lines(console: Console) -> Iterator[Progress]:
    """Show lines on a terminal; elsewhere nothing is shown."""
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[done]}", markup=False, justify="right"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[state]}", markup=False),
        console=console,
        disable=not console.is_terminal,
    ) as progress:
        yield progress
