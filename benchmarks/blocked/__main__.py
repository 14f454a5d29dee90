"""What a thousand blocked clients cost: ``python -m benchmarks.blocked`` (``make bench-blocked``).

The workers of ``voxelq up`` are halted until every client is blocked on the one API process, so
that all of them are at once; then they are let go, and each client is to get its own result. Told
are what the API takes of memory and cores while everybody waits, how long after the end of its job
a client has the answer, and what was answered. Ends with 1 if a client did not get its result.
"""

import argparse
import asyncio
import re
import resource
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import psutil
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.blocked.clients import Outcome, Way, block, statuses
from benchmarks.common.machine import RESULTS, write_json
from benchmarks.common.sample_scan import sample_scan
from benchmarks.common.services import Service, voxelq

SHAPE = (32, 32, 24)
#: Longest wait of a client (seconds); the service is told to bear with it.
WAIT_S = 3600
#: How long the API is looked at while everybody waits.
STILL_S = 3.0
_BLOCKED_S = 300.0
_SPARE_FILES = 64


@dataclass(frozen=True)
class Moment:
    """What the API process took: resident memory, and core time so far."""

    at_s: float
    mb: float
    core_s: float

    @classmethod
    def now(cls, process: psutil.Process) -> "Moment":
        """Look at a process."""
        times = process.cpu_times()
        mb = process.memory_info().rss / 2**20
        return cls(time.perf_counter(), mb, times.user + times.system)


@dataclass(frozen=True)
class Wave:
    """One wave of clients, from the first byte to the last answer; memory is the API's."""

    clients: int
    workers: int
    way: Way
    blocked_at_once: int
    statuses: dict[str, int]
    errors: int
    p50_s: float
    p95_s: float
    woken_p50_ms: float | None
    woken_p95_ms: float | None
    all_blocked_s: float
    all_answered_s: float
    mb_idle: float
    mb_blocked: float
    mb_after: float
    cores_while_blocked: float


async def wave(service: Service, clients: int, way: Way, progress: Progress) -> Wave:
    """Block many clients, let the workers go, and return what came of it."""
    base, (api,) = service.url.removesuffix("/predict"), service.parts["api"]
    workers, scan = service.parts["worker"], sample_scan(SHAPE)
    task = progress.add_task(f"{way}: blocking", total=clients)
    idle = Moment.now(api)
    for worker in workers:
        worker.send_signal(signal.SIGSTOP)
    try:
        running = [asyncio.create_task(block(base, way, scan, WAIT_S)) for _ in range(clients)]
        blocked = await _until_blocked(base, running)
        still = Moment.now(api)
        await asyncio.sleep(STILL_S)
        moved = Moment.now(api)
    finally:
        for worker in workers:
            worker.send_signal(signal.SIGCONT)
    progress.update(task, description=f"{way}: answering")
    for one in asyncio.as_completed(running):
        await one
        progress.advance(task)
    answered_s = time.perf_counter() - moved.at_s
    outcomes = [one.result() for one in running]
    return summary(
        outcomes, len(workers), way, blocked, (idle, still, moved, Moment.now(api)), answered_s
    )


def summary(
    outcomes: Sequence[Outcome],
    workers: int,
    way: Way,
    blocked: int,
    looks: tuple[Moment, Moment, Moment, Moment],
    answered_s: float,
) -> Wave:
    """Put together what clients and looks at the API told."""
    idle, still, moved, after = looks
    seconds = [one.seconds for one in outcomes]
    woken_ms = [1000 * one.woken_s for one in outcomes if one.woken_s is not None]
    return Wave(
        clients=len(outcomes),
        workers=workers,
        way=way,
        blocked_at_once=blocked,
        statuses=statuses(outcomes),
        errors=sum(one.fault is not None for one in outcomes),
        p50_s=percentile(seconds, 50),
        p95_s=percentile(seconds, 95),
        woken_p50_ms=percentile(woken_ms, 50) if woken_ms else None,
        woken_p95_ms=percentile(woken_ms, 95) if woken_ms else None,
        all_blocked_s=still.at_s - idle.at_s,
        all_answered_s=answered_s,
        mb_idle=idle.mb,
        mb_blocked=moved.mb,
        mb_after=after.mb,
        cores_while_blocked=(moved.core_s - still.core_s) / (moved.at_s - still.at_s),
    )


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile, 1 to 99; a single value is all of them."""
    if len(values) < 2:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


async def _until_blocked(base: str, running: Sequence["asyncio.Task[Outcome]"]) -> int:
    """Return how many clients are blocked once that is all but those already answered.

    Raises:
        RuntimeError: It did not come about.
    """
    deadline = time.monotonic() + _BLOCKED_S
    async with httpx.AsyncClient(base_url=base, timeout=60, trust_env=False) as client:
        while time.monotonic() < deadline:
            text = (await client.get("/metrics")).text
            found = re.search(r"^voxelq_http_blocked_clients (\S+)$", text, re.MULTILINE)
            blocked = int(float(found[1])) if found else 0
            if blocked + sum(one.done() for one in running) >= len(running):
                return blocked
            await asyncio.sleep(0.1)
    raise RuntimeError(f"{blocked} of {len(running)} clients are blocked, and no more come.")


def allow_files(clients: int) -> None:
    """Take as many open files as so many connections need.

    Raises:
        ValueError: This system does not grant them.
    """
    granted, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = clients + _SPARE_FILES
    if most != resource.RLIM_INFINITY and most < needed:
        raise ValueError(f"{clients} connections need {needed} open files; {most} are granted.")
    if granted != resource.RLIM_INFINITY and granted < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, most))


def print_report(console: Console, waves: Sequence[Wave]) -> None:
    """Print the table."""
    table = Table("", *(one.way for one in waves), title="Clients blocked at once on one API")
    for name, form in (
        ("clients", "d"), ("workers", "d"), ("blocked_at_once", "d"), ("errors", "d"),
        ("p50_s", ".2f"), ("p95_s", ".2f"), ("woken_p50_ms", ".1f"), ("woken_p95_ms", ".1f"),
        ("all_blocked_s", ".2f"), ("all_answered_s", ".2f"), ("mb_idle", ".1f"),
        ("mb_blocked", ".1f"), ("mb_after", ".1f"), ("cores_while_blocked", ".3f"),
    ):  # fmt: skip
        values = [getattr(one, name) for one in waves]
        table.add_row(
            name.replace("_", " "), *("" if v is None else format(v, form) for v in values)
        )
    answers = ["\n".join(f"{n} x {what}" for what, n in one.statuses.items()) for one in waves]
    table.add_row("answers", *answers)
    console.print(table)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument(
        "--way", choices=["predict", "wait"], nargs="+", default=["predict", "wait"]
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for the JSON")
    options = parser.parse_args()
    if min(options.clients, options.workers) < 1:
        parser.error("clients and workers are above 0")
    console = Console()
    try:
        allow_files(options.clients)
    except ValueError as error:
        parser.error(str(error))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    settings = {"VOXELQ_MAX_WAIT_S": str(WAIT_S), "VOXELQ_MAX_QUEUED": str(2 * options.clients)}
    with (
        voxelq(options.workers, **settings) as service,
        Progress(*columns, TimeElapsedColumn(), console=console) as progress,
    ):
        waves = [asyncio.run(wave(service, options.clients, way, progress)) for way in options.way]
    print_report(console, waves)
    numbers = {"shape": SHAPE, "arithmetic": service.arithmetic, "waves": [*map(asdict, waves)]}
    console.print(f"written: {write_json('blocked', numbers, options.output)}")
    sys.exit(1 if any(one.errors for one in waves) else 0)


if __name__ == "__main__":
    main()
