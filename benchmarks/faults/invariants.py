"""Five invariants that hold after every fault.

1. Every accepted job becomes terminal.
2. Each job has one outcome, which never changes.
3. Healthy jobs finish.
4. The service becomes ready again by itself, within a bound.
5. Nothing is left behind: on disk, in Redis, as a process.

Each function returns descriptions of violations; an empty list if the invariant holds.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
from ulid import ULID

from benchmarks.faults.jobs import Jobs
from benchmarks.faults.service import FaultedService
from shared.jobs import Priority
from shared.queue import keys

#: How long the service may take to clean up after the last job has ended (seconds).
CLEAR_UP_S = 12.0
#: RQ's own keys that `shared.queue.keys` does not name.
_RQ_KEYS = ("rq:workers", "rq:scheduler", "rq:scheduler-lock:", "rq:clean_registries:")
_KNOWN_KEYS = (
    *_RQ_KEYS,
    *(value for name, value in vars(keys).items() if name.isupper() and isinstance(value, str)),
)
_STATES = ("queued", "started", "finished", "failed", "canceled")


class NotReady(Exception):
    """The service did not become ready again in time."""


def seconds_until_ready(service: FaultedService, jobs: Jobs, bound_s: float) -> float:
    """Invariant 4: return the seconds until the service is ready and has finished a scan.

    Raises:
        NotReady: It took longer than ``bound_s``.
    """
    began_s, new_job = time.monotonic(), ""
    with service.client(5.0) as client:
        while (passed_s := time.monotonic() - began_s) < bound_s:
            if not new_job and service.is_ready():
                new_job = jobs.submit(client)
            if new_job:
                jobs.poll(client, new_job)
                if new_job in jobs.ended and service.is_ready():
                    return passed_s
            time.sleep(0.05)
    raise NotReady(f"not ready again within {bound_s:.0f} s: {_why_not(service)}")


def violations(
    service: FaultedService, jobs: Jobs, bound_s: float, *, days_later: int = 0
) -> list[str]:
    """Return the violations of invariants 1, 2, 3 and 5; all jobs are purged at the end."""
    jobs.wait_for_all(bound_s)
    # the index also has jobs that were accepted while the response to the client was lost
    index: Any = service.redis.zrange(keys.INDEX, 0, -1)
    all_jobs = jobs.accepted | {entry.decode() for entry in index}
    problems = [*not_terminal(jobs), *outcomes(service, jobs, all_jobs), *unhealthy(jobs)]
    problems += sorted(set(jobs.unexpected))
    if not problems:  # a stuck job also leaves things behind, which would be reported twice
        problems += leftovers(service, days_later=days_later)
    return problems


def leftovers(service: FaultedService, *, days_later: int = 0) -> list[str]:
    """Invariant 5, once all jobs have ended; they are purged.

    The disk is checked so many days later, by the clock of Redis.
    """
    problems = _after_clean_up(lambda: queue_leftovers(service), CLEAR_UP_S)
    problems += purge(service)
    if days_later and service.clock is not None:
        service.clock_offset_s += days_later * 86_400
        service.clock.step(service.clock_offset_s)
    return problems + _after_clean_up(
        lambda: [*disk_leftovers(service), *process_leftovers(service)], CLEAR_UP_S
    )


def outcome_of(job: dict[str, Any]) -> tuple[Any, ...]:
    """Return what identifies the outcome of a job: its state and its batch."""
    return (job["status"], (job.get("batch") or {}).get("id"))


def not_terminal(jobs: Jobs) -> list[str]:
    """Invariant 1."""
    stuck = jobs.accepted - jobs.ended.keys()
    return [f"{len(stuck)} of {len(jobs.accepted)} accepted jobs never ended"] if stuck else []


def outcomes(service: FaultedService, jobs: Jobs, all_jobs: set[str]) -> list[str]:
    """Invariant 2: one result each, and the outcome that a client saw has not changed."""
    problems = []
    with service.client() as client:
        for job_id in sorted(all_jobs):
            problems += check_outcome(service, client, job_id, jobs.ended.get(job_id))
    return problems


def check_outcome(
    service: FaultedService, client: httpx.Client, job_id: str, seen: dict[str, Any] | None
) -> list[str]:
    """Return what is wrong with how a job ended; ``seen`` is what a client saw first.

    Raises:
        httpx.HTTPError: The API cannot be reached.
        RedisError: Redis cannot be reached.
    """
    results = service.redis.xlen(keys.RQ_RESULTS + job_id)
    if seen is None:
        return [f"a job has {results} outcomes"] if results > 1 else []
    response = client.get(f"/jobs/{job_id}")
    if response.status_code != httpx.codes.OK:
        return [f"a job that was {seen['status']} answers {response.status_code}"]
    if (outcome := outcome_of(response.json())) != outcome_of(seen):
        return [f"a job that was {outcome_of(seen)} is {outcome}"]
    if results != (seen["status"] != "canceled"):
        return [f"a job that is {seen['status']} has {results} outcomes"]
    if seen["status"] == "finished":
        mask = client.get(f"/jobs/{job_id}/mask").status_code
        return [] if mask == httpx.codes.OK else [f"the mask of a finished job answers {mask}"]
    return []


def unhealthy(jobs: Jobs) -> list[str]:
    """Invariant 3; a scan that is meant to fail must have failed."""
    problems = []
    for job_id, job in jobs.ended.items():
        if job_id in jobs.healthy and job["status"] != "finished":
            title = (job.get("error") or {}).get("title", "without a reason")
            problems.append(f"a healthy job is {job['status']}: {title}")
        if job_id in jobs.bad and job["status"] != "failed":
            problems.append(f"a job that must fail is {job['status']}")
    return sorted(problems)


def queue_leftovers(service: FaultedService) -> list[str]:
    """Invariant 5, in Redis, once all jobs are terminal."""
    redis, problems = service.redis, []
    listed: dict[str, set[bytes]] = {}
    for state in _STATES:
        ids: Any = redis.zrange(f"{keys.INDEX}:{state}", 0, -1)
        listed[state] = set(ids)
    problems += [
        f"{len(listed[state])} jobs are listed as {state}"
        for state in ("queued", "started")
        if listed[state]
    ]
    whole: Any = redis.zrange(keys.INDEX, 0, -1)
    if set(whole) != set().union(*listed.values()):
        problems.append("the lists by state do not have the same jobs as the list of all jobs")
    problems += [
        f"{waiting} jobs count as waiting with priority {priority}"
        for priority in Priority
        if (waiting := redis.zcard(keys.PENDING + priority))
    ]
    records = set()
    for entry in redis.scan_iter(count=1000):
        name = entry.decode()
        if name.startswith((keys.RQ_EXECUTION, keys.RQ_EXECUTIONS, keys.RQ_WIP)):
            problems.append(f"{name.rpartition(':')[0]} has a lease without a job")
        elif name.startswith(keys.RQ_QUEUE):
            problems.append(f"{redis.llen(name)} jobs are still in {name}")
        elif name.startswith(keys.RQ_JOB):
            records.add(name.removeprefix(keys.RQ_JOB).encode())
        elif not name.startswith(_KNOWN_KEYS):
            problems.append(f"the key {name} is unknown")
    incomplete = (records ^ set(whole)) - {job_id.encode() for job_id in service.foreign}
    if incomplete:
        problems.append(
            f"{len(incomplete)} jobs have a record but are in no list, or the other way round"
        )
    now_s = time.time() + service.clock_offset_s
    if busy := redis.zcount(keys.BUSY, now_s, "+inf"):
        problems.append(f"{busy} workers report active batches")
    if loading := redis.hlen(keys.LOADING):
        problems.append(f"{loading} workers report that they load a model")
    if strays := redis.zcard(keys.STRAYS):
        problems.append(f"{strays} jobs are recorded as being neither queued nor leased")
    letters: Any = redis.zrange(keys.DEAD_LETTERS, 0, -1)
    if not {entry.decode() for entry in letters} <= service.foreign:
        problems.append("a readable job was set aside as unreadable")
    listed_workers: Any = redis.zcount(keys.WORKERS, now_s, "+inf")
    if listed_workers != len(service.workers):
        problems.append(f"{listed_workers} workers are listed, and {len(service.workers)} run")
    return problems


def purge(service: FaultedService) -> list[str]:
    """Purge all jobs as a client does."""
    problems = []
    listed: Any = service.redis.zrange(keys.INDEX, 0, -1)
    with service.client() as client:
        for entry in listed:
            response = client.delete(f"/jobs/{entry.decode()}")
            if response.status_code not in (httpx.codes.NO_CONTENT, httpx.codes.NOT_FOUND):
                problems.append(f"a job cannot be purged: {response.status_code}")
    return problems


def disk_leftovers(service: FaultedService) -> list[str]:
    """Invariant 5, on disk, once all jobs are purged: no file of a scan, no temporary file."""
    problems = [
        f"{path.relative_to(service.store)} belongs to no job"
        for path in _files(service.store)
        if _names_a_job(path) and not _is_known(service, path)
    ]
    problems += [
        f"{path.name} is left in the temporary folder" for path in _files(service.temporary)
    ]
    return sorted(problems)[:5]


def process_leftovers(service: FaultedService) -> list[str]:
    """Invariant 5, processes: only those that are kept running, and their children."""
    expected = {part.pid for part in service.parts}
    running = service.processes()
    for pid in list(expected):
        try:
            expected |= {child.pid for child in psutil.Process(pid).children(recursive=True)}
        except psutil.NoSuchProcess:
            return ["a part was about to end"]
    orphans = [command for pid, command in running.items() if pid not in expected]
    return [f"a process has no parent: {' '.join(command[-3:])}" for command in orphans]


def _files(folder: Path) -> Iterator[Path]:
    # os.walk, unlike Path.rglob, bears that the service removes folders meanwhile
    return (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)


def _names_a_job(path: Path) -> bool:
    return _job_of(path) is not None


def _is_known(service: FaultedService, path: Path) -> bool:
    return bool(service.redis.exists(f"{keys.RQ_JOB}{_job_of(path)}"))


def _job_of(path: Path) -> str | None:
    for part in path.parts:
        try:
            ULID.from_str(part)
        except ValueError:
            continue
        return part
    return None


def _after_clean_up(check: Callable[[], list[str]], bound_s: float) -> list[str]:
    """Return what ``check`` still returns after a while."""
    deadline = time.monotonic() + bound_s
    while (problems := check()) and time.monotonic() < deadline:
        time.sleep(0.25)
    return problems


def _why_not(service: FaultedService) -> str:
    try:
        with service.client(5.0) as client:
            response = client.get("/readyz")
            return str(response.json()["detail" if response.is_error else "status"])
    except (httpx.HTTPError, ValueError, KeyError) as error:
        return type(error).__name__
