"""``voxelq submit``: hand scans in, wait if told to, and lay the answers on disk."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from voxelq.cli import tables
from voxelq.cli.answers import JobAnswer
from voxelq.cli.http_client import ClientError, VoxelQClient
from voxelq.cli.parallel import all_of
from voxelq.cli.progress import LiveLine, live_lines

BAD = ("failed", "canceled")


@dataclass(frozen=True)
class Scan:
    """One scan of the user's: ``path`` names it, a file or a folder; ``channels`` if several."""

    path: Path
    channels: Mapping[str, Path] | None = None

    @property
    def size_bytes(self) -> int:
        """How many bytes will be sent, but for what frames them."""
        paths = self.channels.values() if self.channels else [self.path]
        return sum(path.stat().st_size for path in paths)


@dataclass(frozen=True)
class Outcome:
    """What became of one scan: its job as last known, and what the service refused, if it did."""

    scan: Path
    label: str
    job: JobAnswer | None
    refusal: ClientError | None = None

    @property
    def bad(self) -> bool:
        """Whether there will be no mask for this scan."""
        return self.refusal is not None or self.job is None or self.job.status in BAD

    def document(self) -> dict[str, object]:
        """Return the job as JSON has it, with the scan's path on this machine."""
        if self.job is not None:
            return {"file": str(self.scan), **self.job.model_dump(mode="json")}
        error = {"status": self.refusal and self.refusal.status, "detail": str(self.refusal)}
        return {"file": str(self.scan), "id": None, "status": "refused", "error": error}


def submit_scans(
    client: VoxelQClient,
    scans: Sequence[Scan],
    *,
    model: str | None = None,
    priority: str | None = None,
    wait: bool = False,
    output: Path | None = None,
    view: Callable[[JobAnswer], None] | None = None,
) -> list[Outcome]:
    """Hand in every scan; with ``wait`` or ``output`` block until all are terminal.

    ``output`` takes ``<stem>_mask.nii.gz``, ``<stem>_preview.png`` and ``<stem>.json`` of each
    finished job. One refused scan, or a service that went away, does not hide what became of the
    others. On a terminal the jobs are followed live. ``view`` is called with the first job.

    Raises:
        OSError: A scan cannot be read, or ``output`` cannot be written.
        ClientError: A mask could not be fetched.
    """
    labels = distinct_stems([scan.path for scan in scans])
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    with live_lines(tables.stderr()) as progress:
        outcomes: list[Outcome] = []
        lines: list[LiveLine] = []
        for scan, label in zip(scans, labels, strict=True):
            lines.append(LiveLine(progress, label, scan.size_bytes))
            outcomes.append(_submit_scan(client, scan, label, model, priority, lines[-1]))
            if view is not None and (job := outcomes[-1].job) is not None:
                view(job)
                view = None
        if wait or output is not None:
            ends = _ends(client, outcomes, lines, live=not progress.disable)
            for index, outcome in enumerate(ends):
                outcomes[index] = outcome
                if output is not None:
                    _fetch(client, outcome, output)
    return outcomes


def distinct_stems(scans: Sequence[Path]) -> list[str]:
    """Name each scan by its stem, with as many folders before it as tell all of them apart."""
    parts = [(*scan.resolve().parts[1:-1], _stem(scan)) for scan in scans]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["_".join(path[-depth:]) for path in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{_stem(scan)}_{number}" for number, scan in enumerate(scans, start=1)]


def _submit_scan(
    client: VoxelQClient,
    scan: Scan,
    label: str,
    model: str | None,
    priority: str | None,
    line: LiveLine,
) -> Outcome:
    try:
        job = client.submit(
            scan.channels or scan.path, model=model, priority=priority, on_progress=line.sent
        )
    except ClientError as refusal:
        line.refused()
        return Outcome(scan.path, label, None, refusal)
    line.submitted(job)
    return Outcome(scan.path, label, job)


def _ends(
    client: VoxelQClient, outcomes: Sequence[Outcome], lines: Sequence[LiveLine], *, live: bool
) -> Iterator[Outcome]:
    """Yield what became of each scan, in order; all are followed side by side where it shows."""
    waits = [
        partial(_await, client, outcome, line, live=live)
        for outcome, line in zip(outcomes, lines, strict=True)
    ]
    return all_of(waits) if live else (wait() for wait in waits)


def _await(client: VoxelQClient, outcome: Outcome, line: LiveLine, *, live: bool) -> Outcome:
    if outcome.job is None:
        return outcome
    try:
        job_id = outcome.job.id
        job = client.follow(job_id, line.show) if live else client.wait(job_id)
    except ClientError as refusal:
        return replace(outcome, refusal=refusal)
    return replace(outcome, job=job)


def _fetch(client: VoxelQClient, outcome: Outcome, output: Path) -> None:
    job, label = outcome.job, outcome.label
    if job is None or job.status != "finished":
        return
    client.mask(job.id, output / f"{label}_mask.nii.gz")
    client.preview(job.id, output / f"{label}_preview.png")
    document = json.dumps(job.model_dump(mode="json"), indent=2, ensure_ascii=False)
    (output / f"{label}.json").write_text(document + "\n", encoding="utf-8")


def _stem(scan: Path) -> str:
    return scan.name.removesuffix(".gz").removesuffix(".nii")


def print_outcomes(outcomes: Sequence[Outcome], *, as_json: bool) -> None:
    """Print what became of the scans, as a table or as a JSON array."""
    if as_json:
        tables.print_json([outcome.document() for outcome in outcomes])
    else:
        tables.print_results(
            (outcome.label, outcome.job, str(outcome.refusal)) for outcome in outcomes
        )
