"""What the doctor asks Redis: the server itself, its clock, the workers, and jobs set aside."""

import asyncio
import time
from collections.abc import Sequence

from redis.exceptions import NoPermissionError, RedisError

from shared.errors import ServiceUnavailable
from shared.queue import keys
from shared.queue.connection import describe_redis_error
from shared.queue.job_queue import JobQueue
from shared.queue.redis_check import UNKNOWN, Finding, check_redis, memory_share, server_words
from shared.queue.state import QueueState, WorkerInfo
from shared.version import VERSION
from voxelq.doctor.finding import Diagnosis, Surroundings, ok, problem, warning

#: Clocks that differ by more make times in logs and jobs hard to compare (seconds).
CLOCK_BOUND_S = 1.0

_START_REDIS = "Start it (`voxelq up` brings one along), or set REDIS_URL to where it is."


def look_at_redis(here: Surroundings) -> list[Diagnosis]:
    """Look at the server: whether it answers, keeps what it accepts, and has room."""
    try:
        with here.redis() as redis:
            info = redis.info()
    except NoPermissionError:
        return [_told("Redis", UNKNOWN)]
    except RedisError as error:
        says = f"{here.redis_place}: {describe_redis_error(error)}"
        return [problem("Redis", says, _START_REDIS, reached=False)]
    except ValueError:
        return [problem("Redis", "REDIS_URL is no address.", _START_REDIS, reached=False)]
    share = memory_share(info)
    used = "without a bound" if share is None else f"{share:.0%} of its maxmemory"
    kept = "on" if info.get("aof_enabled") else "off"
    says = f"{server_words(info)} at {here.redis_place}; memory: {used}; append-only file: {kept}."
    return [ok("Redis", says), *(_told("Redis", finding) for finding in check_redis(info))]


def look_at_clock(here: Surroundings) -> list[Diagnosis]:
    """Compare this machine's clock with that of Redis, by which leases run out."""
    with here.redis() as redis:
        redis.ping()  # connecting takes time that would count as a difference
        before = time.time()
        seconds, microseconds = redis.time()
        now = (before + time.time()) / 2
    ahead_s = now - (seconds + microseconds / 1e6)
    if abs(ahead_s) <= CLOCK_BOUND_S:
        return [ok("clock", "This machine's clock and that of Redis agree.")]
    side = "ahead of" if ahead_s > 0 else "behind"
    says = f"This machine's clock is {abs(ahead_s):.1f} s {side} that of Redis."
    return [warning("clock", says, "Have both set by NTP.")]


def look_at_dead_letters(here: Surroundings) -> list[Diagnosis]:
    """Count the jobs that no worker could read and that were set aside."""
    with here.redis() as redis:
        count = redis.zcard(keys.DEAD_LETTERS)
    if not count:
        return [ok("set aside", "No job had to be set aside.")]
    return [
        warning(
            "set aside",
            f"Jobs that no worker could read: {count}. They are set aside, and harm nothing else.",
            f"Look at them: ZRANGE {keys.DEAD_LETTERS} 0 -1. Have all parts run the same version, "
            "and nothing else put jobs into these queues.",
        )
    ]


def look_at_workers(here: Surroundings) -> list[Diagnosis]:
    """Look at who serves: no worker, paused ones, and those that have fallen silent."""
    with here.redis() as redis:
        now_s, _ = redis.time()
        # before the queue's own look, which forgets them
        silent = [name.decode() for name in redis.zrangebyscore(keys.WORKERS, "-inf", now_s)]
    try:
        state = asyncio.run(_state(here))
    except ServiceUnavailable as error:
        return [problem("workers", error.detail, "See what is said of Redis.")]
    found = [*_serving(state), *_paused(state.workers), *_of_other_versions(state.workers)]
    if silent:
        found.append(
            warning(
                "workers",
                f"Silent for longer than their lease: {', '.join(sorted(silent))}.",
                "They died or hang; their jobs go to other workers. See their logs.",
            )
        )
    return found


async def _state(here: Surroundings) -> QueueState:
    async with JobQueue(here.settings) as queue:
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
    return [problem("workers", f"None is there, so no scan is computed. {waits}", start)]


def _paused(workers: Sequence[WorkerInfo]) -> list[Diagnosis]:
    return [
        warning(
            "workers",
            f"{worker.id} is paused: {worker.paused}",
            "It goes on by itself once the cause is gone.",
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
            "That is meant to work while an upgrade rolls on. Restart them to end it.",
        )
    ]


def _told(what: str, finding: Finding) -> Diagnosis:
    say = problem if finding.severity == "error" else warning
    return say(what, finding.wrong, finding.todo)
