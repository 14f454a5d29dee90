"""One wave of clients that are all blocked on the API at the same time."""

import asyncio
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx
import psutil
from rich.progress import Progress

from benchmarks.blocked.clients import Outcome, Way, block, statuses
from benchmarks.common.percentiles import percentile
from benchmarks.common.sample_scan import sample_scan
from benchmarks.common.service_state import read_metric
from benchmarks.common.services import Service

SHAPE = (32, 32, 24)
#: Longest wait of a client (seconds); the service's setting is changed accordingly.
WAIT_S = 3600
#: How long the API is observed while all clients wait.
OBSERVED_S = 3.0
_ALL_BLOCKED_S = 300.0


@dataclass(frozen=True)
class Moment:
    """Resident memory and core time of the API process at a moment."""

    at_s: float
    mb: float
    core_s: float

    @classmethod
    def now(cls, process: psutil.Process) -> "Moment":
        """Read them from the operating system."""
        times = process.cpu_times()
        mb = process.memory_info().rss / 2**20
        return cls(time.perf_counter(), mb, times.user + times.system)


@dataclass(frozen=True)
class Wave:
    """The numbers of a wave, from its first byte to its last response; memory is the API's."""

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
    """Stop the workers, block many clients, resume the workers, and return the numbers."""
    base, (api,) = service.base, service.parts["api"]
    workers, scan = service.parts["worker"], sample_scan(SHAPE)
    task = progress.add_task(f"{way}: blocking", total=clients)
    idle = Moment.now(api)
    for worker in workers:
        worker.send_signal(signal.SIGSTOP)
    try:
        running = [asyncio.create_task(block(base, way, scan, WAIT_S)) for _ in range(clients)]
        blocked = await _until_blocked(base, running)
        blocked_from = Moment.now(api)
        await asyncio.sleep(OBSERVED_S)
        blocked_to = Moment.now(api)
    finally:
        for worker in workers:
            worker.send_signal(signal.SIGCONT)
    progress.update(task, description=f"{way}: answering")
    for client in asyncio.as_completed(running):
        await client
        progress.advance(task)
    answered_s = time.perf_counter() - blocked_to.at_s
    outcomes = [client.result() for client in running]
    return summary(
        outcomes,
        len(workers),
        way,
        blocked,
        (idle, blocked_from, blocked_to, Moment.now(api)),
        answered_s,
    )


def summary(
    outcomes: Sequence[Outcome],
    workers: int,
    way: Way,
    blocked: int,
    moments: tuple[Moment, Moment, Moment, Moment],
    answered_s: float,
) -> Wave:
    """Return the numbers of a wave from its outcomes and four moments of the API."""
    idle, blocked_from, blocked_to, after = moments
    seconds = [outcome.seconds for outcome in outcomes]
    woken_ms = [1000 * outcome.woken_s for outcome in outcomes if outcome.woken_s is not None]
    return Wave(
        clients=len(outcomes),
        workers=workers,
        way=way,
        blocked_at_once=blocked,
        statuses=statuses(outcomes),
        errors=sum(outcome.fault is not None for outcome in outcomes),
        p50_s=percentile(seconds, 50),
        p95_s=percentile(seconds, 95),
        woken_p50_ms=percentile(woken_ms, 50) if woken_ms else None,
        woken_p95_ms=percentile(woken_ms, 95) if woken_ms else None,
        all_blocked_s=blocked_from.at_s - idle.at_s,
        all_answered_s=answered_s,
        mb_idle=idle.mb,
        mb_blocked=blocked_to.mb,
        mb_after=after.mb,
        cores_while_blocked=(blocked_to.core_s - blocked_from.core_s)
        / (blocked_to.at_s - blocked_from.at_s),
    )


async def _until_blocked(base: str, running: Sequence["asyncio.Task[Outcome]"]) -> int:
    """Wait until all clients without a response are blocked; return their number.

    Raises:
        RuntimeError: It took too long.
    """
    deadline = time.monotonic() + _ALL_BLOCKED_S
    async with httpx.AsyncClient(base_url=base, timeout=60, trust_env=False) as client:
        while time.monotonic() < deadline:
            text = (await client.get("/metrics")).text
            blocked = int(read_metric(text, "voxelq_http_blocked_clients") or 0)
            if blocked + sum(client.done() for client in running) >= len(running):
                return blocked
            await asyncio.sleep(0.1)
    raise RuntimeError(f"{blocked} of {len(running)} clients are blocked, and no more are added.")
