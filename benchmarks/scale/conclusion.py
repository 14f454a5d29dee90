"""What the rows show: where a service saturates, and what limits it there."""

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.scale.rows import Row

#: Throughput above this share of the best counts as good as the best.
AS_GOOD = 0.95
#: A resource that is busy for this share of the time counts as fully used.
FULLY_USED = 0.9


class Line(NamedTuple):
    """The rows of one number of workers and one batch size, by growing number of users."""

    workers: int
    max_batch_size: int | None
    rows: tuple[Row, ...]

    @property
    def best(self) -> Row:
        """Return the row of the highest throughput."""
        return max(self.rows, key=lambda row: row.jobs_per_s)

    @property
    def enough(self) -> Row:
        """Return the row of the fewest users whose throughput is as good as the best."""
        return next(row for row in self.rows if row.jobs_per_s >= AS_GOOD * self.best.jobs_per_s)

    @property
    def saturates(self) -> bool:
        """Whether more users than that were measured, without more throughput."""
        return self.enough is not self.rows[-1]


def lines(rows: Sequence[Row]) -> list[Line]:
    """Return the rows as lines, with the best of several spawn rates."""
    best: dict[tuple[int, int, int], Row] = {}
    for row in rows:
        key = (row.workers, row.max_batch_size or 0, row.users)
        if key not in best or row.jobs_per_s > best[key].jobs_per_s:
            best[key] = row
    pairs = sorted({key[:2] for key in best})
    return [
        Line(workers, size or None, tuple(best[key] for key in sorted(best) if key[:2] == pair))
        for pair in pairs
        for workers, size in (pair,)
    ]


def limit(row: Row) -> str:
    """Return a phrase that names what limits the throughput of a row."""
    if row.client_cores is not None and row.client_cores >= FULLY_USED:
        return (
            f"the client: locust uses {row.client_cores:.2f} of the one core that it can use; "
            "measure from another machine, or with locust's --processes"
        )
    if row.cores_idle is not None and row.cores_idle <= 1 - FULLY_USED and row.device == "cpu":
        if row.others is not None and row.others > 1 - FULLY_USED:
            return (
                f"other programs on this machine: they used {100 * row.others:.0f} % of its "
                f"{row.cores} cores; measure again when they have ended"
            )
        return (
            f"the cores: {100 * row.cores_idle:.0f} % of the {row.cores} are idle; "
            "more workers would only share them"
        )
    if row.workers_busy is not None and row.workers_busy >= FULLY_USED:
        return (
            f"the workers, whose networks compute {100 * row.workers_busy:.0f} % of the time; "
            "more workers bring more, if there are cores or GPUs for them"
        )
    if row.cores_idle is None and row.workers_busy is None:
        return "unknown: the clocks of the service cannot be read from here"
    if row.cores_idle is not None and row.cores_idle <= 1 - FULLY_USED:
        return f"the cores beside the GPU: {100 * row.cores_idle:.0f} % of them are idle"
    return "the users, who pause between scans: neither cores nor workers are busy all the time"


def conclusion(rows: Sequence[Row]) -> list[str]:
    """Return sentences that help to decide how many workers to run."""
    measured = [line for line in lines(rows) if line.best.jobs]
    several_sizes = len({line.max_batch_size for line in measured}) > 1
    sentences = [_line_in_words(line, several_sizes=several_sizes) for line in measured]
    sentences += _speed_ups(measured, several_sizes=several_sizes)
    sentences += _batching(measured)
    failed, done = sum(row.job_failures for row in rows), sum(row.jobs for row in rows)
    if failed:
        reasons = sorted({row.reasons for row in rows if row.job_failures})
        sentences.append(f"{failed} of {failed + done} jobs failed: {'; '.join(reasons)}.")
    else:
        sentences.append(f"None of {done} jobs failed.")
    return sentences


def counted(workers: int) -> str:
    """Return ``1 worker`` or ``2 workers``."""
    return f"{workers} worker{'' if workers == 1 else 's'}"


def name(line: Line, *, several_sizes: bool) -> str:
    """Return the name of a line in a table or a plot."""
    batch = f", batches up to {line.max_batch_size}" if several_sizes else ""
    return counted(line.workers) + batch


def _line_in_words(line: Line, *, several_sizes: bool) -> str:
    enough = line.enough
    most = f"{line.best.jobs_per_s:.2f} scans/s ({3600 * line.best.jobs_per_s:,.0f} an hour)"
    begin = f"{name(line, several_sizes=several_sizes)}: {most}"
    wait = "" if enough.p95_s is None else f", p95 {enough.p95_s:.1f} s"
    if line.saturates:
        where = f"reached with {enough.users} users{wait}; with more users only the wait grows"
    elif len(line.rows) > 1:
        where = f"with {enough.users} users{wait}, the most that were measured, and still growing"
    else:
        where = (
            f"with {enough.users} users{wait}; one number of users does not show where it saturates"
        )
    return f"{begin}, {where}. The limit there is {limit(enough)}."


def _speed_ups(measured: Sequence[Line], *, several_sizes: bool) -> list[str]:
    sentences = []
    for line in measured:
        fewest = min(
            (other for other in measured if other.max_batch_size == line.max_batch_size),
            key=lambda other: other.workers,
        )
        if line is not fewest:
            times = line.best.jobs_per_s / fewest.best.jobs_per_s
            more = name(line, several_sizes=several_sizes)
            sentences.append(f"{more} do {times:.2f} times what {counted(fewest.workers)} can do.")
    return sentences


def _batching(measured: Sequence[Line]) -> list[str]:
    sentences = []
    for line in measured:
        smallest = min(
            (other for other in measured if other.workers == line.workers),
            key=lambda other: other.max_batch_size or 0,
        )
        if line is not smallest:
            times = line.best.jobs_per_s / smallest.best.jobs_per_s
            sentences.append(
                f"With {counted(line.workers)}, batches up to {line.max_batch_size} bring "
                f"{times:.2f} times the throughput of batches up to {smallest.max_batch_size}."
            )
    return sentences
