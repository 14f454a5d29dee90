"""One line on a terminal for each scan: a progress bar, and the state of its job."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from voxelq.records import JobState, JobStatus


class LiveLine:
    """The line of one scan: the progress of its upload, then of its job."""

    def __init__(self, progress: Progress, label: str, size_bytes: int) -> None:
        self._progress = progress
        self._size_bytes = size_bytes
        self._task: TaskID = progress.add_task(label, total=size_bytes, state="uploading", done="")

    def sent(self, sent_bytes: int) -> None:
        """Show how much of the scan is sent."""
        done = f"{decimal(sent_bytes)} of {decimal(self._size_bytes)}"
        self._progress.update(self._task, completed=sent_bytes, done=done)

    def submitted(self, job: JobState) -> None:
        """Start the bar again, for the scan's job."""
        self._progress.reset(self._task, total=1.0)
        self.show(job)

    def show(self, job: JobState) -> None:
        """Show the progress of the job."""
        done = f"{job.progress:.0%}" if job.progress else ""
        state = describe_state(job)
        self._progress.update(self._task, completed=job.progress, state=state, done=done)
        if job.terminal:
            self._progress.stop_task(self._task)

    def refused(self) -> None:
        """Show that the service refused the scan."""
        self._progress.update(self._task, state="refused")
        self._progress.stop_task(self._task)


def describe_state(job: JobState) -> str:
    """Return a few words on a job: its position in the queue, its stage, or its final state."""
    if job.status == JobStatus.QUEUED and job.position is not None:
        place = f"queued, {job.position} ahead" if job.position else "queued, next"
        return f"{place}, done in about {job.eta_s:.0f} s" if job.eta_s else place
    if job.status == JobStatus.STARTED and job.stage:
        again = f", attempt {job.attempts}" if job.attempts > 1 else ""
        return job.stage + again
    return job.status


@contextmanager
def live_lines(console: Console) -> Iterator[Progress]:
    """Show lines on a terminal; elsewhere show nothing."""
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
