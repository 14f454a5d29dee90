"""The checks of Redis: the server itself, its clock, the workers, and jobs set aside."""

import asyncio
import time
from collections.abc import Sequence

from redis.exceptions import NoPermissionError, RedisError

from shared.errors import ServiceUnavailable
from shared.queue import keys
from shared.queue.connection import describe_redis_error
from shared.queue.job_queue import JobQueue
from shared.queue.redis_check import (
    INFO_FORBIDDEN,
    Finding,
    check_redis,
    memory_share,
    server_words,
)
from shared.queue.state import QueueState, WorkerInfo
from shared.version import VERSION
from voxelq.doctor.diagnosis import CheckContext, Diagnosis, ok, problem, warning

#: A larger difference of clocks makes times in logs and jobs hard to compare (seconds).
CLOCK_BOUND_S = 1.0

_START_REDIS = "Start it (`voxelq up` has its own), or set REDIS_URL to its address."


def check_redis_server(context: CheckContext) -> list[Diagnosis]:
    """Check that the server answers, writes what it accepts to disk, and has memory left."""
    try:
        with context.redis() as redis:
            info = redis.info()
    except NoPermissionError:
        return [_diagnosis("Redis", INFO_FORBIDDEN)]
    except RedisError as error:
        says = f"{context.redis_place}: {describe_redis_error(error)}"
        return [problem("Redis", says, _START_REDIS, reached=False)]
    except ValueError:
        return [problem("Redis", "REDIS_URL is not an address.", _START_REDIS, reached=False)]
    share = memory_share(info)
    used = "without a limit" if share is None else f"{share:.0%} of its maxmemory"
    kept = "on" if info.get("aof_enabled") else "off"
    says = (
        f"{server_words(info)} at {context.redis_place}; memory: {used}; append-only file: {kept}."
    )
    return [ok("Redis", says), *(_diagnosis("Redis", finding) for finding in check_redis(info))]


def check_clock(context: CheckContext) -> list[Diagnosis]:
    """Compare this machine's clock with that of Redis, which decides when a lease ends."""
    with context.redis() as redis:
        redis.ping()  # the time to connect must not count as a difference
        before = time.time()
        seconds, microseconds = redis.time()
        now = (before + time.time()) / 2
    ahead_s = now - (seconds + microseconds / 1e6)
    if abs(ahead_s) <= CLOCK_BOUND_S:
        return [ok("clock", "This machine's clock and that of Redis agree.")]
    side = "ahead of" if ahead_s > 0 else "behind"
    says = f"This machine's clock is {abs(ahead_s):.1f} s {side} that of Redis."
    return [warning("clock", says, "Set both by NTP.")]


def check_dead_letters(context: CheckContext) -> list[Diagnosis]:
    """Count the jobs that no worker could read and that were set aside."""
    with context.redis() as redis:
        count = redis.zcard(keys.DEAD_LETTERS)
    if not count:
        return [ok("set aside", "No job had to be set aside.")]
    return [
        warning(
            "set aside",
            f"Jobs that no worker could read: {count}. They are set aside, and delay no other job.",
            f"List them: ZRANGE {keys.DEAD_LETTERS} 0 -1. Run the same version of all parts, "
            "and let no other program put jobs into these queues.",
        )
    ]


def check_workers(context: CheckContext) -> list[Diagnosis]:
    """Check the workers: none, paused ones, and those whose heartbeat stopped."""
    with context.redis() as redis:
        now_s, _ = redis.time()
        # before the queue reads its state, which removes them
        silent = [name.decode() for name in redis.zrangebyscore(keys.WORKERS, "-inf", now_s)]
    try:
        state = asyncio.run(_state(context))
    except ServiceUnavailable as error:
        return [problem("workers", error.detail, "See the result for Redis.")]
    found = [*_serving(state), *_paused(state.workers), *_of_other_versions(state.workers)]
    if silent:
        found.append(
            warning(
                "workers",
                f"No heartbeat for longer than their lease: {', '.join(sorted(silent))}.",
                "They died or hang; other workers get their jobs. See their logs.",
            )
        )
    return found


async def _state(context: CheckContext) -> QueueState:
    async with JobQueue(context.settings) as queue:
        return await queue.state()


def _serving(state: QueueState) -> list[Diagnosis]:
    serving = [worker for worker in state.workers if worker.paused is None]
    waits = f"{state.queued} scans wait, {state.started} are being computed."
    if serving:
        devices = ", ".join(sorted({worker.device for worker in serving}))
        return [ok("workers", f"{len(serving)} serve, on {devices}. {waits}")]
    if state.workers:
        return [
            problem("workers", f"All are paused, so no scan is computed. {waits}", "See below.")
        ]
    start = "Start one with `voxelq worker`, or all of it with `voxelq up`; see their logs."
    return [problem("workers", f"There is none, so no scan is computed. {waits}", start)]


def _paused(workers: Sequence[WorkerInfo]) -> list[Diagnosis]:
    return [
        warning(
            "workers",
            f"{worker.id} is paused: {worker.paused}",
            "It continues by itself once the cause is gone.",
        )
        for worker in workers
        if worker.paused is not None
    ]


def _of_other_versions(workers: Sequence[WorkerInfo]) -> list[Diagnosis]:
    others = sorted({str(worker.version) for worker in workers if worker.version != VERSION})
    if not others:
        return []
    return [
        warning(
            "workers",
            f"Some are of version {', '.join(others)}; this is {VERSION}.",
            "That works during an upgrade. Restart them to complete it.",
        )
    ]


def _diagnosis(what: str, finding: Finding) -> Diagnosis:
    make = problem if finding.severity == "error" else warning
    return make(what, finding.wrong, finding.todo)
