"""Five truths that hold after every fault, whatever it was.

1. Every accepted job is terminal, or becomes so.
2. Each has one outcome, which never changes.
3. Healthy jobs are finished.
4. The service is ready again without hands, within a bound.
5. Nothing is left behind: on disk, in Redis, as a process.

Each function returns what it found against its truth, in words; an empty list says that it holds.
"""

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

#: How long what is cleared up by itself may take, once all jobs have ended (seconds).
CLEAR_UP_S = 12.0
#: RQ's own listings, besides what `shared.queue.keys` names.
_RQ_OWN = ("rq:workers", "rq:scheduler", "rq:scheduler-lock:", "rq:clean_registries:")
_KNOWN = (
    *_RQ_OWN,
    *(value for name, value in vars(keys).items() if name.isupper() and isinstance(value, str)),
)
_STATES = ("queued", "started", "finished", "failed", "canceled")


class NotReady(Exception):
    """The service did not come back by itself in time."""


def seconds_until_ready(service: FaultedService, jobs: Jobs, bound_s: float) -> float:
    """Truth 4: return the seconds until the service says that it is ready and finishes a scan.

    Raises:
        NotReady: It took longer than ``bound_s``.
    """
    began, fresh = time.monotonic(), ""
    with service.client(5.0) as client:
        while (passed_s := time.monotonic() - began) < bound_s:
            if not fresh and service.is_ready():
                fresh = jobs.submit(client)
            if fresh:
                jobs.look_at(client, fresh)
                if fresh in jobs.ended and service.is_ready():
                    return passed_s
            time.sleep(0.05)
    raise NotReady(f"not ready again within {bound_s:.0f} s: {_why_not(service)}")


def violations(
    service: FaultedService, jobs: Jobs, bound_s: float, *, days_later: int = 0
) -> list[str]:
    """Return what speaks against the truths 1, 2, 3 and 5; the jobs are purged on the way."""
    jobs.wait_for_all(bound_s)
    # jobs whose acceptance no client heard of, for the answer was lost
    index: Any = service.redis.zrange(keys.INDEX, 0, -1)
    everybody = jobs.accepted | {entry.decode() for entry in index}
    found = [*not_terminal(jobs), *outcomes(service, jobs, everybody), *unhealthy(jobs)]
    found += sorted(set(jobs.rude))
    if not found:  # what is stuck is left behind too, and need not be said twice
        found += leftovers(service, days_later=days_later)
    return found


def leftovers(service: FaultedService, *, days_later: int = 0) -> list[str]:
    """Truth 5, once all jobs have ended; they are purged on the way.

    The disk is looked at so many days later, by the clock of Redis.
    """
    found = _soon(lambda: queue_leftovers(service), CLEAR_UP_S)
    found += purge(service)
    if days_later and service.clock is not None:
        service.clock_offset_s += days_later * 86_400
        service.clock.step(service.clock_offset_s)
    return found + _soon(
        lambda: [*disk_leftovers(service), *process_leftovers(service)], CLEAR_UP_S
    )


def end_of(job: dict[str, Any]) -> tuple[Any, ...]:
    """Return what tells one end of a job from another: its state, and the batch that gave it."""
    return (job["status"], (job.get("batch") or {}).get("id"))


def not_terminal(jobs: Jobs) -> list[str]:
    """Truth 1."""
    stuck = jobs.accepted - jobs.ended.keys()
    return [f"{len(stuck)} of {len(jobs.accepted)} accepted jobs never ended"] if stuck else []


def outcomes(service: FaultedService, jobs: Jobs, everybody: set[str]) -> list[str]:
    """Truth 2: one result each, and the end that a client saw is the end that stands."""
    found = []
    with service.client() as client:
        for job_id in sorted(everybody):
            found += check_end(service, client, job_id, jobs.ended.get(job_id))
    return found


def check_end(
    service: FaultedService, client: httpx.Client, job_id: str, seen: dict[str, Any] | None
) -> list[str]:
    """Return what is wrong with how a job ended; ``seen`` is the end that a client saw first.

    Raises:
        httpx.HTTPError: The API is away.
        RedisError: Redis is away.
    """
    results = service.redis.xlen(keys.RQ_RESULTS + job_id)
    if seen is None:
        return [f"a job has {results} outcomes"] if results > 1 else []
    now = client.get(f"/jobs/{job_id}")
    if now.status_code != httpx.codes.OK:
        return [f"a job that was {seen['status']} answers {now.status_code}"]
    if (stands := end_of(now.json())) != end_of(seen):
        return [f"a job that was {end_of(seen)} is {stands}"]
    if results != (seen["status"] != "canceled"):
        return [f"a job that is {seen['status']} has {results} outcomes"]
    if seen["status"] == "finished":
        mask = client.get(f"/jobs/{job_id}/mask").status_code
        return [] if mask == httpx.codes.OK else [f"the mask of a finished job answers {mask}"]
    return []


def unhealthy(jobs: Jobs) -> list[str]:
    """Truth 3; a scan at fault must have failed."""
    found = []
    for job_id, job in jobs.ended.items():
        if job_id in jobs.healthy and job["status"] != "finished":
            title = (job.get("error") or {}).get("title", "without a reason")
            found.append(f"a healthy job is {job['status']}: {title}")
        if job_id in jobs.bad and job["status"] != "failed":
            found.append(f"a job that must fail is {job['status']}")
    return sorted(found)


def queue_leftovers(service: FaultedService) -> list[str]:
    """Truth 5, in Redis, once all jobs are terminal."""
    redis, found = service.redis, []
    listed: dict[str, set[bytes]] = {}
    for state in _STATES:
        ids: Any = redis.zrange(f"{keys.INDEX}:{state}", 0, -1)
        listed[state] = set(ids)
    found += [
        f"{len(listed[state])} jobs are listed as {state}"
        for state in ("queued", "started")
        if listed[state]
    ]
    whole: Any = redis.zrange(keys.INDEX, 0, -1)
    if set(whole) != set().union(*listed.values()):
        found.append("the listings by state are not those of all jobs")
    found += [
        f"{waiting} jobs count as waiting with priority {priority}"
        for priority in Priority
        if (waiting := redis.zcard(keys.PENDING + priority))
    ]
    records = set()
    for entry in redis.scan_iter(count=1000):
        name = entry.decode()
        if name.startswith((keys.RQ_EXECUTION, keys.RQ_EXECUTIONS, keys.RQ_WIP)):
            found.append(f"{name.rpartition(':')[0]} has a lease of nothing")
        elif name.startswith(keys.RQ_QUEUE):
            found.append(f"{redis.llen(name)} jobs are still in {name}")
        elif name.startswith(keys.RQ_JOB):
            records.add(name.removeprefix(keys.RQ_JOB).encode())
        elif not name.startswith(_KNOWN):
            found.append(f"nobody knows the key {name}")
    unlike = (records ^ set(whole)) - {job_id.encode() for job_id in service.strange}
    if unlike:
        found.append(f"{len(unlike)} jobs have a record and no listing, or the other")
    now_s = time.time() + service.clock_offset_s
    if busy := redis.zcount(keys.BUSY, now_s, "+inf"):
        found.append(f"{busy} workers say that they have jobs in hand")
    if loading := redis.hlen(keys.LOADING):
        found.append(f"{loading} workers say that they load a model")
    if strays := redis.zcard(keys.STRAYS):
        found.append(f"{strays} jobs are known to be in no list and no hand")
    letters: Any = redis.zrange(keys.DEAD_LETTERS, 0, -1)
    if not {entry.decode() for entry in letters} <= service.strange:
        found.append("a job that can be read was set aside as one that cannot")
    seen: Any = redis.zcount(keys.WORKERS, now_s, "+inf")
    if seen != len(service.workers):
        found.append(f"{seen} workers are listed, and {len(service.workers)} run")
    return found


def purge(service: FaultedService) -> list[str]:
    """Purge all jobs as a client does."""
    found = []
    listed: Any = service.redis.zrange(keys.INDEX, 0, -1)
    with service.client() as client:
        for entry in listed:
            answer = client.delete(f"/jobs/{entry.decode()}")
            if answer.status_code not in (httpx.codes.NO_CONTENT, httpx.codes.NOT_FOUND):
                found.append(f"a job cannot be purged: {answer.status_code}")
    return found


def disk_leftovers(service: FaultedService) -> list[str]:
    """Truth 5, on disk, once all jobs are purged: no file of a scan, nothing temporary."""
    found = [
        f"{path.relative_to(service.store)} belongs to no job"
        for path in _files(service.store)
        if _names_a_job(path) and not _is_known(service, path)
    ]
    found += [f"{path.name} is left in the temporary folder" for path in _files(service.temporary)]
    return sorted(found)[:5]


def process_leftovers(service: FaultedService) -> list[str]:
    """Truth 5, as processes: there are those that are kept running, and their children."""
    expected = {part.pid for part in service.parts}
    running = service.processes()
    for pid in list(expected):
        try:
            expected |= {child.pid for child in psutil.Process(pid).children(recursive=True)}
        except psutil.NoSuchProcess:
            return ["a part was just dying"]
    strangers = [command for pid, command in running.items() if pid not in expected]
    return [f"a process has no parent: {' '.join(command[-3:])}" for command in strangers]


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


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


def _soon(look: Callable[[], list[str]], bound_s: float) -> list[str]:
    """Return what is still found after a while."""
    deadline = time.monotonic() + bound_s
    while (found := look()) and time.monotonic() < deadline:
        time.sleep(0.25)
    return found


def _why_not(service: FaultedService) -> str:
    try:
        with service.client(5.0) as client:
            answer = client.get("/readyz")
            return str(answer.json()["detail" if answer.is_error else "status"])
    except (httpx.HTTPError, ValueError, KeyError) as error:
        return type(error).__name__
