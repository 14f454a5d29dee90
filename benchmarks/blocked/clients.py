"""Clients that block on a service, each on a connection of its own, without a library's pool."""

import asyncio
import json
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from benchmarks.common.clinic import job_fault, refusal

#: ``predict``: one call; ``wait``: a submit, and then a status call that waits.
Way = Literal["predict", "wait"]
#: Open files of this process beside its connections.
_SPARE_FILES = 64


@dataclass(frozen=True)
class Outcome:
    """The outcome of one client.

    ``status`` is the HTTP status of its last response, 0 if there was none. ``seconds`` count from
    its first byte to that response, ``woken_s`` from the end of its job to that response.
    """

    status: int
    fault: str | None
    seconds: float
    woken_s: float | None = None


async def block(base: str, way: Way, scan: bytes, wait_s: int) -> Outcome:
    """Submit a scan and block until its job is terminal."""
    began_s, status = time.perf_counter(), 0
    try:
        if way == "wait":
            status, body = await _call(base, "POST", "/jobs", scan)
            if status != 202:
                return Outcome(status, refusal(status, body), time.perf_counter() - began_s)
            path = f"/jobs/{json.loads(body)['id']}?wait={wait_s}"
            status, body = await _call(base, "GET", path)
        else:
            status, body = await _call(base, "POST", f"/predict?wait={wait_s}", scan)
    except (OSError, ValueError) as error:
        reason = f"no response: {type(error).__name__}"
        return Outcome(0, reason, time.perf_counter() - began_s)
    seconds, now_s = time.perf_counter() - began_s, time.time()
    if status == 202:
        return Outcome(status, f"no result within {wait_s} s", seconds)
    if status != 200:
        return Outcome(status, refusal(status, body), seconds)
    job: dict[str, Any] = json.loads(body)
    fault = job_fault(job)
    if fault is not None:
        return Outcome(status, fault, seconds)
    ended_s = datetime.fromisoformat(job["finished_at"]).timestamp()
    return Outcome(status, None, seconds, max(0.0, now_s - ended_s))


async def _call(base: str, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """Make one HTTP call; return its status and body.

    Raises:
        OSError: The connection failed.
        ValueError: The connection ended before the response was complete.
    """
    address = urlsplit(base)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n"
            f"Content-Type: application/gzip\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await writer.drain()
        response = await reader.read()
    finally:
        writer.close()
    head_bytes, separator, content = response.partition(b"\r\n\r\n")
    if not separator:
        raise ValueError("the connection ended early")
    return int(head_bytes.split()[1]), content


def statuses(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Return how many clients had each outcome, with the reason if it was no result."""
    counts: dict[str, int] = {}
    for outcome in outcomes:
        name = f"{outcome.status} finished" if outcome.fault is None else outcome.fault
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))


def allow_files(clients: int) -> None:
    """Raise this process's limit of open files, if so many connections need it.

    Raises:
        ValueError: The system's limit is lower.
    """
    limit, highest = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = clients + _SPARE_FILES
    if highest != resource.RLIM_INFINITY and highest < needed:
        raise ValueError(f"{clients} connections need {needed} open files; {highest} are allowed.")
    if limit != resource.RLIM_INFINITY and limit < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, highest))
