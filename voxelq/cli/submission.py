"""Submitting scans, waiting for their jobs, and writing their results to disk."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from voxelq.cli import tables
from voxelq.cli.connection import RETRIES_WHILE_WAITING, connect
from voxelq.cli.parallel import run_all
from voxelq.cli.progress import LiveLine, live_lines
from voxelq.cli.scan_files import ScanFiles
from voxelq.client import Client
from voxelq.errors import JobCanceled, JobFailed, VoxelQError
from voxelq.job import Job
from voxelq.records import JobState, JobStatus

#: The states of a job that has no mask and will not have one.
WITHOUT_MASK = (JobStatus.FAILED, JobStatus.CANCELED)


@dataclass(frozen=True)
class Outcome:
    """One scan with its job as last known, and the error that the service refused it with."""

    scan: Path
    label: str
    job: JobState | None
    refusal: VoxelQError | None = None

    @property
    def bad(self) -> bool:
        """Whether there will be no mask for this scan."""
        return self.refusal is not None or self.job is None or self.job.status in WITHOUT_MASK

    def document(self) -> dict[str, object]:
        """Return the job as JSON, with the scan's path on this machine."""
        if self.job is not None:
            return {"file": str(self.scan), **self.job.document}
        error = {"status": getattr(self.refusal, "status", None), "detail": str(self.refusal)}
        return {"file": str(self.scan), "id": None, "status": "refused", "error": error}


def submit_scans(
    url: str | None,
    scans: Sequence[ScanFiles],
    *,
    model: str | None = None,
    priority: str | None = None,
    wait: bool = False,
    output: Path | None = None,
    on_first_job: Callable[[JobState], None] | None = None,
) -> list[Outcome]:
    """Submit every scan; with ``wait`` or ``output`` block until all jobs have ended.

    ``output`` gets ``<stem>_mask.nii.gz``, ``<stem>_preview.png`` and ``<stem>.json`` of each
    finished job. One refused scan, or a service that went away, does not hide the outcome of the
    others. On a terminal the progress of each job is shown.

    Raises:
        OSError: A scan cannot be read, or ``output`` cannot be written.
        VoxelQError: A mask could not be fetched.
        UsageError: The URL is not an http or https address.
    """
    labels = distinct_stems([scan.path for scan in scans])
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    with live_lines(tables.stderr()) as progress:
        outcomes: list[Outcome] = []
        lines: list[LiveLine] = []
        with connect(url) as client:
            for scan, label in zip(scans, labels, strict=True):
                lines.append(LiveLine(progress, label, scan.size_bytes))
                outcomes.append(_submit_scan(client, scan, label, model, priority, lines[-1]))
                if on_first_job is not None and (job := outcomes[-1].job) is not None:
                    on_first_job(job)
                    on_first_job = None
        if wait or output is not None:
            with connect(url, retries=RETRIES_WHILE_WAITING) as client:
                ended = _wait_for_all(client, outcomes, lines, live=not progress.disable)
                for index, outcome in enumerate(ended):
                    outcomes[index] = outcome
                    if output is not None:
                        _fetch(client, outcome, output)
    return outcomes


def distinct_stems(scans: Sequence[Path]) -> list[str]:
    """Name each scan by its stem, with as many parent folders as make all names different."""
    parts = [(*scan.resolve().parts[1:-1], _stem(scan)) for scan in scans]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["_".join(path[-depth:]) for path in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{_stem(scan)}_{number}" for number, scan in enumerate(scans, start=1)]


def _submit_scan(
    client: Client,
    scan: ScanFiles,
    label: str,
    model: str | None,
    priority: str | None,
    line: LiveLine,
) -> Outcome:
    try:
        with scan.opened(line.sent) as opened:
            job = client.submit(opened, model=model, priority=priority)
    except VoxelQError as refusal:
        line.refused()
        return Outcome(scan.path, label, None, refusal)
    line.submitted(job.state)
    return Outcome(scan.path, label, job.state)


def _wait_for_all(
    client: Client, outcomes: Sequence[Outcome], lines: Sequence[LiveLine], *, live: bool
) -> Iterator[Outcome]:
    """Yield the outcome of each scan, in order; several are watched at once if progress shows."""
    waits = [
        partial(_wait, client, outcome, line, live=live)
        for outcome, line in zip(outcomes, lines, strict=True)
    ]
    return run_all(waits) if live else (wait() for wait in waits)


def _wait(client: Client, outcome: Outcome, line: LiveLine, *, live: bool) -> Outcome:
    if outcome.job is None:
        return outcome
    job = Job(client, outcome.job)
    try:
        job.wait(on_progress=line.show if live else None)
    except (JobFailed, JobCanceled):
        pass
    except VoxelQError as refusal:
        return replace(outcome, job=job.state, refusal=refusal)
    return replace(outcome, job=job.state)


def _fetch(client: Client, outcome: Outcome, output: Path) -> None:
    if outcome.job is None or outcome.job.status != JobStatus.FINISHED:
        return
    prediction = Job(client, outcome.job).wait()
    prediction.save_mask(output / f"{outcome.label}_mask.nii.gz")
    prediction.save_preview(output / f"{outcome.label}_preview.png")
    document = json.dumps(outcome.job.document, indent=2, ensure_ascii=False)
    (output / f"{outcome.label}.json").write_text(document + "\n", encoding="utf-8")


def _stem(scan: Path) -> str:
    return scan.name.removesuffix(".gz").removesuffix(".nii")


def print_outcomes(outcomes: Sequence[Outcome], *, as_json: bool) -> None:
    """Print the outcome of each scan, as a table or as a JSON array."""
    if as_json:
        tables.print_json([outcome.document() for outcome in outcomes])
    else:
        tables.print_results(
            [(outcome.label, outcome.job, str(outcome.refusal)) for outcome in outcomes]
        )
