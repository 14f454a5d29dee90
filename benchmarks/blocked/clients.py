"""Clients that block on a service, each on a connection of its own, without a library's pool."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from benchmarks.common.clinic import job_fault, refusal

#: ``predict``: one call; ``wait``: a submit, and then a look that is held.
Way = Literal["predict", "wait"]


@dataclass(frozen=True)
class Outcome:
    """How one client fared.

    ``status`` is that of its last answer, 0 if there was none; ``seconds`` go from its first byte
    to its answer, ``woken_s`` from the end of its job to its answer.
    """

    status: int
    fault: str | None
    seconds: float
    woken_s: float | None = None


async def block(base: str, way: Way, scan: bytes, wait_s: int) -> Outcome:
    """Hand in a scan and block until its job is terminal."""
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
        words = f"no answer: {type(error).__name__}"
        return Outcome(0, words, time.perf_counter() - began_s)
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
        ValueError: It was cut before a whole answer had come.
    """
    place = urlsplit(base)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\n"
            f"Content-Type: application/gzip\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await writer.drain()
        answer = await reader.read()
    finally:
        writer.close()
    head_bytes, found, content = answer.partition(b"\r\n\r\n")
    if not found:
        raise ValueError("the connection was cut")
    return int(head_bytes.split()[1]), content


def statuses(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Return how many clients were answered with what, and why some were not served."""
    counts: dict[str, int] = {}
    for one in outcomes:
        words = f"{one.status} finished" if one.fault is None else one.fault
        counts[words] = counts.get(words, 0) + 1
    return dict(sorted(counts.items()))
