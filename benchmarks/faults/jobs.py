"""The jobs that clients hand in while faults go on, and what became of each."""

import gzip
import io
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from benchmarks.faults.service import FaultedService

TERMINAL = frozenset({"finished", "failed", "canceled"})
#: How a service that lacks something refuses a scan; anything else is a fault of its own.
CALM_REFUSALS = frozenset({408, 429, 503, 507})
_LOOK_S = 0.25


def scan_bytes(edge: int = 20) -> bytes:
    """Return a gzipped NIfTI volume with a bright cube in it."""
    voxels: NDArray[np.int16] = np.zeros((edge,) * 3, np.int16)
    voxels[2:-2, 2:-2, 2:-2] = np.random.default_rng(0).integers(80, 120, (edge - 4,) * 3)
    voxels[6:-8, 6:-8, 6:-8] += 100
    header = bytearray(348)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, edge, edge, edge, 1, 1, 1, 1)
    struct.pack_into("<hh", header, 70, 4, 16)
    struct.pack_into("<8f", header, 76, 1, 2, 2, 2, 0, 0, 0, 0)
    struct.pack_into("<3f", header, 108, 352, 1, 0)
    struct.pack_into("<hh", header, 252, 0, 1)
    for row in range(3):
        struct.pack_into("<4f", header, 280 + 16 * row, *(2.0 * (row == k) for k in range(3)), 0)
    header[344:348] = b"n+1\0"
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as file:
        file.write(bytes(header) + bytes(4) + voxels.tobytes(order="F"))
    return packed.getvalue()


SCAN = scan_bytes()


@dataclass
class Jobs:
    """What was accepted, and the first terminal answer to each; any thread may use it."""

    service: FaultedService
    healthy: set[str] = field(default_factory=set)
    bad: set[str] = field(default_factory=set)
    ended: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: When each end was seen first (monotonic seconds).
    ended_at_s: dict[str, float] = field(default_factory=dict)
    #: Answers that no state of the service excuses.
    rude: list[str] = field(default_factory=list)
    refused: int = 0
    #: Set while the queue has lost its data: jobs are not known then.
    forgotten: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def accepted(self) -> set[str]:
        """The ids of all jobs that the service took."""
        with self._lock:
            return self.healthy | self.bad

    def submit(self, client: httpx.Client, *, model: str | None = None, bad: bool = False) -> str:
        """Hand in a scan; return the job's id, or "" if it was not taken."""
        answer = self._send(client, "POST", "/jobs", {"model": model} if model else {})
        # 200: a submit whose first answer was lost found its job finished
        if answer is None or not self._took(answer, {200, 202}):
            return ""
        job_id = str(answer.json()["id"])
        with self._lock:
            (self.bad if bad else self.healthy).add(job_id)
        return job_id

    def predict(self, client: httpx.Client, *, wait_s: int = 10) -> None:
        """Hand in a scan and block for its mask."""
        headers = {"Prefer": f"wait={wait_s}"}
        answer = self._send(client, "POST", "/predict", {}, headers)
        if answer is not None and self._took(answer, {200, 202}):
            job = answer.json()
            with self._lock:
                self.healthy.add(job["id"])
            self._note(job)

    def look(self, client: httpx.Client) -> None:
        """Ask for every job whose end was not seen yet."""
        for job_id in self.accepted - self.ended.keys():
            self.look_at(client, job_id)

    def look_at(self, client: httpx.Client, job_id: str) -> None:
        """Ask for one job."""
        answer = self._send(client, "GET", f"/jobs/{job_id}", {})
        if answer is not None and self._took(answer, {200}):
            self._note(answer.json())

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look again and again until the block ends."""
        over = threading.Event()

        def watch() -> None:
            with self.service.client(5.0) as client:
                while not over.wait(_LOOK_S):
                    self.look(client)

        thread = threading.Thread(target=watch, name="watch")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def wait_for_all(self, bound_s: float) -> None:
        """Return once every job's end was seen, or time is over."""
        deadline = time.monotonic() + bound_s
        with self.service.client() as client:
            while self.accepted - self.ended.keys() and time.monotonic() < deadline:
                self.look(client)
                time.sleep(0.05)

    def _send(
        self,
        client: httpx.Client,
        method: str,
        path: str,
        parameters: dict[str, str],
        headers: dict[str, str] | None = None,
    ) -> httpx.Response | None:
        content = SCAN if method == "POST" else None
        kind = {"Content-Type": "application/gzip"} if content else {}
        try:
            return client.request(
                method,
                path,
                params=parameters,
                content=content,
                headers={**kind, **(headers or {})},
            )
        except httpx.HTTPError:
            return None  # the API is away

    def _took(self, answer: httpx.Response, good: set[int]) -> bool:
        if answer.status_code in good:
            return True
        with self._lock:
            self.refused += 1
            if self.forgotten and answer.status_code == httpx.codes.NOT_FOUND:
                return False
            if answer.status_code not in CALM_REFUSALS:
                self.rude.append(f"{answer.request.method} {answer.status_code}: {_title(answer)}")
        return False

    def _note(self, job: dict[str, Any]) -> None:
        if job["status"] in TERMINAL:
            with self._lock:
                self.ended_at_s.setdefault(job["id"], time.monotonic())
                self.ended.setdefault(job["id"], job)


def _title(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["title"])
    except (ValueError, KeyError, TypeError):
        return "no problem+json"
