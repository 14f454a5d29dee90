"""The numbers of a run, as rows of ``summary.csv``."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple


class Combination(NamedTuple):
    """One way to load a service; ``max_batch_size`` is None if the service was already running."""

    workers: int
    users: int
    spawn_rate: float
    max_batch_size: int | None

    def stem(self, *, several_sizes: bool) -> str:
        """Return the name of its files, with the batch size if several are measured."""
        stem = f"{self.workers}_{self.users}_{self.spawn_rate:g}"
        return f"{stem}_batch{self.max_batch_size}" if several_sizes else stem


@dataclass(frozen=True)
class Row:
    """The numbers of one combination, from the moment that all users had started.

    ``jobs`` counts scans with a result and ``job_failures`` those without; ``reasons`` says why and
    how often. Times to result are as locust rounds them, to two digits. ``workers_busy`` is a share
    of the workers' time; ``cores_idle`` and ``others`` (neither the service nor locust) are shares
    of the cores' time; ``client_cores`` is the number of cores that locust used. Each of these is
    None where it could not be measured.
    """

    device: str
    workers: int
    users: int
    spawn_rate: float
    max_batch_size: int | None
    shapes: str
    run_time_s: float
    jobs: int
    job_failures: int
    requests: int
    request_failures: int
    jobs_per_s: float
    p50_s: float | None
    p95_s: float | None
    queue_p50_s: float | None
    batch_mean: float | None
    workers_busy: float | None
    cores: int
    cores_idle: float | None
    others: float | None
    client_cores: float | None
    reasons: str

    @property
    def combination(self) -> Combination:
        """Return the combination that was measured."""
        return Combination(self.workers, self.users, self.spawn_rate, self.max_batch_size)


def write_summary(rows: Iterable[Row], path: Path) -> None:
    """Write the rows; the file is replaced as a whole."""
    partial = path.with_suffix(".part")
    with partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    partial.replace(path)


def read_summary(path: Path) -> list[Row]:
    """Return the rows of a file that `write_summary` wrote, or none if there is no such file.

    Raises:
        ValueError: The file is not such a summary.
    """
    if not path.exists():
        return []
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    try:
        return [
            Row(**{field.name: _value(str(field.type), line[field.name]) for field in fields(Row)})
            for line in lines
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path.name} is not a summary of this tool; move it away.") from error


def _value(kind: str, text: str) -> Any:
    if not text and "None" in kind:
        return None
    for name, read in (("int", int), ("float", float)):
        if name in kind:
            return read(text)
    return text


class JobRows(NamedTuple):
    """The numbers of jobs and calls in locust's CSV, as the fields of a `Row`."""

    jobs: int
    job_failures: int
    requests: int
    request_failures: int
    jobs_per_s: float
    p50_s: float | None
    p95_s: float | None
    queue_p50_s: float | None
    batch_mean: float | None


def read_locust(stats: Sequence[dict[str, str]]) -> JobRows:
    """Read the rows of locust's ``_stats.csv``; a run without a finished job has no times."""
    jobs = {row["Name"]: row for row in stats if row["Type"] == "JOB"}
    calls = [row for row in stats if row["Type"] not in ("JOB", "")]
    results, queue, batch = (
        jobs.get(name, {}) for name in ("time to result", "time in queue", "batch size (scans)")
    )
    failed = int(results.get("Failure Count", 0))
    count = int(results.get("Request Count", 0)) - failed
    rate = float(results.get("Requests/s", 0)) - float(results.get("Failures/s", 0))
    not_cancelled = int(jobs.get("cancelled", {}).get("Failure Count", 0))
    return JobRows(
        jobs=count,
        job_failures=failed + not_cancelled,
        requests=sum(int(row["Request Count"]) for row in calls),
        request_failures=sum(int(row["Failure Count"]) for row in calls),
        jobs_per_s=max(0.0, rate),
        p50_s=_seconds(results, "50%"),
        p95_s=_seconds(results, "95%"),
        queue_p50_s=_seconds(queue, "50%"),
        batch_mean=float(batch["Average Response Time"]) if batch else None,
    )


def _seconds(row: dict[str, str], column: str) -> float | None:
    text = row.get(column, "N/A")
    return None if text == "N/A" else float(text) / 1000
