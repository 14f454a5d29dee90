"""Results as tables and JSON on standard output, and messages on standard error."""

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from voxelq.records import JobState, Models

STATUS_STYLES = {"finished": "green", "failed": "red", "canceled": "yellow", "started": "cyan"}


def stdout() -> Console:
    """Return the console for results; piped, it is wide enough for a whole row."""
    return _console(stderr=False)


def stderr() -> Console:
    """Return the console for progress and complaints."""
    return _console(stderr=True)


def complain(words: str) -> None:
    """Print what went wrong on standard error."""
    stderr().print(Text(words, style="red"), soft_wrap=True)


def say(words: str) -> None:
    """Print a message on standard error."""
    stderr().print(Text(words), soft_wrap=True)


def print_json(body: Any) -> None:
    """Write one JSON document to standard output."""
    sys.stdout.write(json.dumps(body, indent=2, ensure_ascii=False) + "\n")


def print_results(rows: Sequence[tuple[str, JobState | None, str]]) -> None:
    """Print the outcome of scans: label, job, and the reason if the scan was refused.

    Warnings about a scan follow on standard error.
    """
    table = _table("scan", "job", "status", "tumour", "probability", "volume ml", "seconds")
    for label, job, reason in rows:
        if job is None:
            table.add_row(Text(label), "", Text(f"refused: {reason}", style="red"))
        else:
            table.add_row(Text(label), job.id, _status(job), *_finding(job))
    stdout().print(table)
    for label, job, _ in rows:
        for warning in job.result.warnings if job and job.result else ():
            words = Text(f"{label}: {warning.detail}", style="yellow")
            stderr().print(words, soft_wrap=True)


def print_jobs(jobs: Sequence[JobState]) -> None:
    """Print jobs, one a row."""
    table = _table("job", "status", "priority", "model", "created", "tumour", "probability")
    for job in jobs:
        model = f"{job.model.name}@{job.model.version}"
        finding = _finding(job)[:2]
        created = _iso(job.created_at)
        table.add_row(job.id, _status(job), job.priority, model, created, *finding)
    stdout().print(table)


def print_job(job: JobState) -> None:
    """Print one job."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("job", job.id)
    table.add_row("status", _status(job))
    table.add_row("model", f"{job.model.name}@{job.model.version}")
    table.add_row("priority", job.priority)
    table.add_row("attempts", str(job.attempts))
    table.add_row("created", _iso(job.created_at))
    if job.position is not None:
        table.add_row("jobs ahead", str(job.position))
    if job.eta_s is not None:
        table.add_row("expected in", f"{job.eta_s:.1f} s")
    if job.result is not None:
        present, probability, volume, seconds = _finding(job)
        table.add_row("tumour", present)
        table.add_row("probability", probability)
        table.add_row("volume", f"{volume} ml")
        table.add_row("took", f"{seconds} s")
        for warning in job.result.warnings:
            table.add_row("warning", Text(warning.detail, style="yellow"))
    if job.error is not None:
        table.add_row("error", Text(str(job.error)))
    stdout().print(table)


def print_models(models: Models) -> None:
    """Print the models that are served, and those that are not with the reason."""
    table = _table("model", "version", "default", "inputs", "labels", "licence", "intended use")
    for model in models:
        inputs = ", ".join(channel.name for channel in model.inputs)
        labels = ", ".join(f"{label.value} {label.name}" for label in model.labels)
        default = "yes" if model.default else ""
        cells = (model.name, model.version, default, inputs, labels, model.license)
        table.add_row(*(Text(cell) for cell in (*cells, model.intended_use)))
    stdout().print(table)
    if models.broken or models.arriving:
        stdout().print()
        stdout().print(_unserved_table(models))


def _unserved_table(models: Models) -> Table:
    table = _table("not served", "version", "state", "reason")
    for state, style, unserved in (
        ("broken", "red", models.broken),
        ("on its way", "", models.arriving),
    ):
        for model in unserved:
            cells = (model.name, model.version, state, model.reason)
            table.add_row(*(Text(cell, style=style) for cell in cells))
    return table


def _finding(job: JobState) -> tuple[str, str, str, str]:
    total_s = (job.timings_s or {}).get("total")
    seconds = "" if total_s is None else f"{total_s:.2f}"
    if job.result is None:
        return "", "", "", seconds
    tumor = job.result.tumor
    present = "present" if tumor.present else "absent"
    return present, f"{tumor.probability:.2f}", f"{tumor.volume_ml:.1f}", seconds


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _status(job: JobState) -> Text:
    words = job.status
    if job.error is not None:
        words += f": {job.error}"
    return Text(words, style=STATUS_STYLES.get(job.status, ""))


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        # ids and times are for copying and must not be cut
        table.add_column(column, no_wrap=column in ("job", "created"), overflow="fold")
    return table


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 200
    return console
